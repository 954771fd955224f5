#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/clock.h"

enum { CODE_SHOWN = 80, MESSAGE_SHOWN = 500, ID_SHOWN = 80 };

/* Appends at most max bytes of text, its control characters as blanks, no character cut in two. */
static void add_words(struct buf *b, const char *text, size_t len, size_t max)
{
	size_t n = len < max ? len : max;

	while (n < len && n && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	for (size_t i = 0; i < n; i++)
		buf_addch(b, (unsigned char)text[i] < ' ' ? ' ' : text[i]);
	if (n < len)
		buf_addstr(b, "...");
}

static const char *member_text(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static void add_code_message(struct buf *b, const char *code, const char *message)
{
	if (code && *code)
		add_words(b, code, strlen(code), CODE_SHOWN);
	if (code && *code && message && *message)
		buf_addstr(b, ": ");
	if (message)
		add_words(b, message, strlen(message), MESSAGE_SHOWN);
}

/* {"error": {"code", "message"}}, both of ARM and of the data plane. */
static bool add_json_words(const struct http_response *r, struct buf *b)
{
	cJSON *json = NULL;
	const cJSON *error;
	bool found;

	if (asset_json_parse(buf_str(&r->body), r->body.len, &json, NULL))
		return false;
	error = cJSON_GetObjectItemCaseSensitive(json, "error");
	if (!cJSON_IsObject(error))
		error = json;
	add_code_message(b, member_text(error, "code"), member_text(error, "message"));
	found = b->len > 0;
	cJSON_Delete(json);
	return found;
}

/* The text between <name> and </name>; storage's error bodies are flat. */
static bool add_element(struct buf *b, const char *xml, const char *name, size_t max)
{
	char open[32], close[32];
	const char *start, *end;

	snprintf(open, sizeof(open), "<%s>", name);
	snprintf(close, sizeof(close), "</%s>", name);
	start = strstr(xml, open);
	end = start ? strstr(start, close) : NULL;
	if (!end)
		return false;
	start += strlen(open);
	add_words(b, start, (size_t)(end - start), max);
	return true;
}

static bool add_xml_words(const struct http_response *r, struct buf *b)
{
	const char *xml = buf_str(&r->body);

	if (!strstr(xml, "<Error>"))
		return false;
	if (!add_element(b, xml, "Code", CODE_SHOWN))
		return false;
	buf_addstr(b, ": ");
	(void)add_element(b, xml, "Message", MESSAGE_SHOWN);
	return true;
}

void arm_error_words(const struct http_response *r, struct buf *b)
{
	const char *code;

	if (add_json_words(r, b) || add_xml_words(r, b))
		return;
	/* The answer to a HEAD has its code here only. */
	code = http_response_header(r, "x-ms-error-code");
	if (code)
		add_words(b, code, strlen(code), CODE_SHOWN);
}

/* What the service's people find the request by; ours when the answer has none of theirs. */
static void add_ids(const struct http_response *r, struct buf *b)
{
	static const char *const names[] = {"x-ms-request-id", "x-ms-correlation-request-id"};
	bool found = false;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *id = http_response_header(r, names[i]);

		if (!id)
			continue;
		buf_addf(b, " [%s ", names[i]);
		add_words(b, id, strlen(id), ID_SHOWN);
		buf_addch(b, ']');
		found = true;
	}
	if (!found && r->id[0])
		buf_addf(b, " [x-ms-client-request-id %s]", r->id);
}

int arm_error(const char *method, const char *url, const struct http_response *r, struct err *e)
{
	struct buf words = BUF_INIT(ERR_MSG_MAX), ids = BUF_INIT(ERR_MSG_MAX);
	int code = http_status_errno(r->status);
	char path[HTTP_SHOWN_PATH], wait[80] = "";

	http_shown_path(url, path);
	arm_error_words(r, &words);
	add_ids(r, &ids);
	if (apiversion_is_refused(r))
		buf_addstr(&words, "; -o api_version=DATE chooses another one");
	if (r->retry_after >= 0)
		snprintf(wait, sizeof(wait), "; the service asks to wait %.3g s",
			 (double)r->retry_after / (double)NS_PER_S);
	err_set(e, code, "%s %s: status %d %s%s%s", method, path, r->status, buf_str(&words), wait,
		buf_str(&ids));
	buf_free(&words);
	buf_free(&ids);
	return code;
}
