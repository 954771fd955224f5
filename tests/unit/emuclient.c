#include "tests/unit/emuclient.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/buf.h"

#define BASE    "http://localhost"
#define VERSION "api-version=2026-05-01"
#define GROUP                                                                        \
	"/subscriptions/" EMU_SUBSCRIPTION "/resourceGroups/" EMU_RESOURCE_GROUP "/" \
	"providers/Microsoft.MachineLearningServices"

enum { URL_MAX = 128 * 1024, BODY_MAX = 256 * 1024 * 1024, TIMEOUT_S = 20 };

void emuclient_prepare(struct emuclient *c)
{
	memset(c, 0, sizeof(*c));
	snprintf(c->dir, sizeof(c->dir), "/tmp/test-emu-XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	snprintf(c->store, sizeof(c->store), "%s/store.db", c->dir);
	snprintf(c->socket, sizeof(c->socket), "%s/service", c->dir);
}

void emuclient_restart(struct emuclient *c, const struct emu_conf *conf)
{
	struct emu_conf own = conf ? *conf : (struct emu_conf){0};
	struct err e = ERR_INIT;

	own.store = c->store;
	if (emu_new(&own, &c->emu, &e) || emu_listen_unix(c->emu, c->socket, &e))
		fail_msg("%s", e.msg);
	c->curl = curl_easy_init();
	assert_non_null(c->curl);
}

void emuclient_start(struct emuclient *c, const struct emu_conf *conf)
{
	emuclient_prepare(c);
	emuclient_restart(c, conf);
}

void emuclient_stop(struct emuclient *c)
{
	curl_easy_cleanup(c->curl);
	emu_free(c->emu);
	c->curl = NULL;
	c->emu = NULL;
}

void emuclient_end(struct emuclient *c)
{
	static const char *const names[] = {"store.db", "store.db-wal", "store.db-shm",
					    "store.db.lock", "service"};
	char path[EMUCLIENT_PATH];

	emuclient_stop(c);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", c->dir, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(c->dir), 0);
}

static void make_url(const char *path, char out[URL_MAX])
{
	const char *root = NULL, *more = strchr(path, '?') ? "&" VERSION : "?" VERSION;

	if (strncmp(path, "W/", 2) == 0 || strcmp(path, "W") == 0)
		root = GROUP "/workspaces/" EMU_WORKSPACE;
	else if (strncmp(path, "R/", 2) == 0 || strcmp(path, "R") == 0)
		root = GROUP "/registries/team";
	else if (strncmp(path, "D/", 2) == 0)
		root = "/mferp/managementfrontend" GROUP "/registries/team";
	if (root)
		snprintf(out, URL_MAX, BASE "%s%s%s", root, path + 1, more);
	else
		snprintf(out, URL_MAX, "%s%s", *path == '/' ? BASE : "", path);
}

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	return buf_add(arg, data, size * n) ? 0 : size * n;
}

static struct curl_slist *make_headers(const struct emuclient *c)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	char bearer[256];

	if (c->token) {
		snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", c->token);
		headers = curl_slist_append(headers, bearer);
	}
	return headers;
}

struct emu_answer emu_ask(struct emuclient *c, const char *method, const char *path,
			  const char *body)
{
	struct buf content = BUF_INIT(BODY_MAX), head = BUF_INIT(BODY_MAX);
	struct curl_slist *headers = make_headers(c);
	struct emu_answer a = {0};
	char url[URL_MAX];

	make_url(path, url);
	curl_easy_reset(c->curl);
	curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->socket);
	curl_easy_setopt(c->curl, CURLOPT_URL, url);
	curl_easy_setopt(c->curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &content);
	curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_data);
	curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, &head);
	curl_easy_setopt(c->curl, CURLOPT_FRESH_CONNECT, (long)c->fresh);
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(c->curl, CURLOPT_NOBODY, 1L);
	if (body) {
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
	}
	a.rc = curl_easy_perform(c->curl);
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &a.status);
	curl_slist_free_all(headers);
	a.body = content.len ? buf_steal(&content, &a.len) : strdup("");
	a.headers = head.len ? buf_steal(&head, NULL) : strdup("");
	a.json = cJSON_ParseWithLength(a.body, a.len);
	buf_free(&content);
	buf_free(&head);
	return a;
}

void emu_answer_free(struct emu_answer *a)
{
	cJSON_Delete(a->json);
	free(a->body);
	free(a->headers);
	*a = (struct emu_answer){0};
}

cJSON *emu_ask_json(struct emuclient *c, const char *method, const char *path, const char *body,
		    long status)
{
	struct emu_answer a = emu_ask(c, method, path, body);
	cJSON *json = a.json;

	if (a.rc != CURLE_OK || a.status != status)
		fail_msg("%s %s: %s, status %ld instead of %ld: %s", method, path,
			 curl_easy_strerror(a.rc), a.status, status, a.body);
	a.json = NULL;
	emu_answer_free(&a);
	return json;
}

void emu_ask_status(struct emuclient *c, const char *method, const char *path, const char *body,
		    long status)
{
	cJSON_Delete(emu_ask_json(c, method, path, body, status));
}

const cJSON *json_at(const cJSON *json, const char *path)
{
	char name[128];

	while (json && *path) {
		size_t len = strcspn(path, ".");

		snprintf(name, sizeof(name), "%.*s", (int)len, path);
		json = cJSON_IsArray(json) ? cJSON_GetArrayItem(json, (int)strtol(name, NULL, 10))
					   : cJSON_GetObjectItemCaseSensitive(json, name);
		path += len + (path[len] == '.');
	}
	return json;
}

const char *json_text_at(const cJSON *json, const char *path)
{
	const char *text = cJSON_GetStringValue(json_at(json, path));

	return text ? text : "(none)";
}

const char *emu_header_of(const struct emu_answer *a, const char *name)
{
	static char value[URL_MAX];
	size_t n = strlen(name);

	value[0] = '\0';
	for (const char *line = a->headers; *line; line += strcspn(line, "\n") + 1) {
		if (strncasecmp(line, name, n) == 0 && line[n] == ':')
			snprintf(value, sizeof(value), "%.*s", (int)strcspn(line + n + 2, "\r\n"),
				 line + n + 2);
		if (!strchr(line, '\n'))
			break;
	}
	return value;
}
