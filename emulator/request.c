#include "emulator/emu_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *find(const struct kv *kv, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(kv[i].key, name) == 0)
			return kv[i].value ? kv[i].value : "";
	return NULL;
}

const char *emu_header(const struct emu_request *r, const char *name)
{
	return find(r->headers, r->n_headers, name);
}

const char *emu_param(const struct emu_request *r, const char *name)
{
	return find(r->params, r->n_params, name);
}

/* A header's value ends at a line end, whoever wrote what follows it. */
static bool is_one_line(const char *value)
{
	for (; *value; value++)
		if ((unsigned char)*value < 0x20 || *value == 0x7f)
			return false;
	return true;
}

void emu_reply_header(struct emu_reply *reply, const char *name, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (reply->n_headers >= EMU_HEADERS_MAX || strlen(name) >= sizeof(reply->headers[0].name))
		return;
	va_start(ap, fmt);
	n = vsnprintf(reply->headers[reply->n_headers].value, EMU_HEADER_VALUE_MAX, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= EMU_HEADER_VALUE_MAX ||
	    !is_one_line(reply->headers[reply->n_headers].value))
		return;
	memcpy(reply->headers[reply->n_headers].name, name, strlen(name) + 1);
	reply->n_headers++;
}
