/* Which resource a scope (v2) or a resource name (v1) is for. Source: auth.md section 1. */
#include "emulator/entra_int.h"

#include <string.h>
#include <strings.h>

static const char *const arm[] = {
	"https://management.azure.com",
	"https://management.core.windows.net",
	"https://management.chinacloudapi.cn",
	"https://management.core.chinacloudapi.cn",
	"https://management.usgovcloudapi.net",
	"https://management.core.usgovcloudapi.net",
	NULL,
};

static const char *const storage[] = {"https://storage.azure.com", NULL};

static const char *const ml[] = {
	"https://ml.azure.com",
	"https://ml.azure.cn",
	"https://ml.azure.us",
	NULL,
};

static const struct {
	enum entra_audience audience;
	const char *const *names; /* the first is what tokens say */
} audiences[] = {{ENTRA_ARM, arm}, {ENTRA_STORAGE, storage}, {ENTRA_ML, ml}};

#define DEFAULT_SCOPE "/.default"

const char *entra_audience_name(enum entra_audience audience)
{
	for (size_t i = 0; i < sizeof(audiences) / sizeof(audiences[0]); i++)
		if (audiences[i].audience == audience)
			return audiences[i].names[0];
	return "";
}

static bool same(const char *text, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(text, name, len) == 0;
}

enum entra_audience entra_resource(const char *resource, size_t len, const char *base_url)
{
	/* One that ends in a slash is the same resource. */
	while (len && resource[len - 1] == '/')
		len--;
	/* Clients that are given another address of ARM ask for a token for that. */
	if (len && same(resource, len, base_url))
		return ENTRA_ARM;
	for (size_t i = 0; i < sizeof(audiences) / sizeof(audiences[0]); i++)
		for (const char *const *name = audiences[i].names; *name; name++)
			if (same(resource, len, *name))
				return audiences[i].audience;
	return ENTRA_NOWHERE;
}

static bool is_openid(const char *word, size_t len, struct entra_scope *out)
{
	if (same(word, len, "offline_access"))
		out->offline = true;
	else if (same(word, len, "openid") || same(word, len, "profile") ||
		 same(word, len, "email"))
		out->openid = true;
	else
		return false;
	return true;
}

static void copy_word(const char *word, size_t len, char out[ENTRA_TEXT_SIZE])
{
	if (len >= ENTRA_TEXT_SIZE)
		len = ENTRA_TEXT_SIZE - 1;
	memcpy(out, word, len);
	out[len] = '\0';
}

static enum entra_error read_word(const char *word, size_t len, const char *base_url,
				  struct entra_scope *out)
{
	size_t tail = strlen(DEFAULT_SCOPE), resource = len;
	enum entra_audience audience;

	if (is_openid(word, len, out))
		return ENTRA_OK;
	if (len > tail && strncasecmp(word + len - tail, DEFAULT_SCOPE, tail) == 0) {
		out->is_default = true;
		resource -= tail;
	} else {
		/* resource/permission */
		while (resource && word[resource - 1] != '/')
			resource--;
		if (!resource || resource == len)
			return ENTRA_BAD_SCOPE;
	}
	audience = entra_resource(word, resource, base_url);
	if (audience == ENTRA_NOWHERE)
		return ENTRA_NO_RESOURCE;
	if (out->audience != ENTRA_NOWHERE && out->audience != audience)
		return ENTRA_MANY_RESOURCES;
	out->audience = audience;
	return ENTRA_OK;
}

enum entra_error entra_scope_read(const char *scope, const char *base_url, struct entra_scope *out,
				  char bad[ENTRA_TEXT_SIZE])
{
	const char *word = scope;
	enum entra_error error = ENTRA_OK;

	*out = (struct entra_scope){0};
	while (!error && *(word += strspn(word, " "))) {
		size_t len = strcspn(word, " ");

		error = read_word(word, len, base_url, out);
		if (error)
			copy_word(word, len, bad);
		word += len;
	}
	if (!error && out->audience == ENTRA_NOWHERE) {
		copy_word(scope, strlen(scope), bad);
		error = ENTRA_BAD_SCOPE;
	}
	return error;
}
