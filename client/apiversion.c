/*
 * What the service says of an api-version that it does not have (azureml-rest.md section 5; the
 * texts are those of Azure Resource Manager):
 *
 *   InvalidApiVersionParameter   "The api-version '...' is invalid. The supported versions are
 *                                '2026-03-01,2025-12-01-preview,...'."
 *   NoRegisteredProviderFound    "No registered resource provider found for location '...' and API
 *                                version '...' for type '...'. The supported api-versions are ..."
 *   InvalidResourceType          "The resource type could not be found in the namespace '...' for
 *                                api version '...'. The supported api-versions are ..."
 *
 * Only the dates in them are looked at.
 */
#include "client/apiversion.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "client/asset_json.h"
#include "client/log.h"

enum { DATE_LEN = 10 };

static const char parameter[] = "api-version=";

/* Stable ones since 2023, newest first: the way down when an answer names none. */
static const char *const stable[] = {
	APIVERSION_NEWEST, "2026-03-01", "2025-12-01", "2025-09-01", "2025-06-01",
	"2025-04-01",      "2024-10-01", "2024-04-01", "2023-10-01",
};

struct apiversion {
	bool fixed;
	pthread_mutex_t lock;
	/* protected by lock */
	char current[APIVERSION_SIZE];
	char refused[APIVERSION_REFUSED][APIVERSION_SIZE];
	size_t n_refused;
};

int apiversion_new(const char *fixed, struct apiversion **out)
{
	const char *first = fixed ? fixed : APIVERSION_NEWEST;
	struct apiversion *v;

	*out = NULL;
	if (!*first || strlen(first) >= APIVERSION_SIZE)
		return -EINVAL;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	pthread_mutex_init(&v->lock, NULL);
	v->fixed = fixed;
	memcpy(v->current, first, strlen(first) + 1);
	*out = v;
	return 0;
}

void apiversion_free(struct apiversion *v)
{
	if (!v)
		return;
	pthread_mutex_destroy(&v->lock);
	free(v);
}

void apiversion_get(struct apiversion *v, char out[APIVERSION_SIZE])
{
	pthread_mutex_lock(&v->lock);
	memcpy(out, v->current, APIVERSION_SIZE);
	pthread_mutex_unlock(&v->lock);
}

/* ---- the answer ---- */

/* The error's code (or message) in a JSON answer; NULL when there is none. */
static const char *error_member(const cJSON *json, const char *name)
{
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(json, "error");

	if (!cJSON_IsObject(error))
		error = json;
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(error, name));
}

bool apiversion_is_refused(const struct http_response *r)
{
	static const char *const codes[] = {"InvalidApiVersionParameter", "UnsupportedApiVersion",
					    "NoRegisteredProviderFound", "InvalidResourceType"};
	cJSON *json = NULL;
	const char *code;
	bool refused = false;

	if ((r->status != 400 && r->status != 404) ||
	    asset_json_parse(buf_str(&r->body), r->body.len, &json, NULL))
		return false;
	code = error_member(json, "code");
	for (size_t i = 0; code && i < sizeof(codes) / sizeof(*codes); i++)
		refused |= strcasecmp(code, codes[i]) == 0;
	cJSON_Delete(json);
	return refused;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The length of the date that text begins with, and whether it is a stable version's; 0: none. */
static size_t date_at(const char *text, bool *is_stable)
{
	static const char form[] = "dddd-dd-dd";

	for (size_t i = 0; i < DATE_LEN; i++)
		if (form[i] == 'd' ? !is_digit(text[i]) : text[i] != form[i])
			return 0;
	*is_stable = text[DATE_LEN] != '-' && !is_digit(text[DATE_LEN]);
	return DATE_LEN;
}

/* ---- choosing; under the lock ---- */

static bool was_refused(const struct apiversion *v, const char *version)
{
	for (size_t i = 0; i < v->n_refused; i++)
		if (strcmp(v->refused[i], version) == 0)
			return true;
	return false;
}

/*
 * Takes version into *best when it is better: the newest of those that are not newer than what we
 * know, else the oldest of the newer ones, which differs least.
 */
static void consider(const struct apiversion *v, const char *version, char best[APIVERSION_SIZE])
{
	bool known = strcmp(version, APIVERSION_NEWEST) <= 0;
	bool best_known = strcmp(best, APIVERSION_NEWEST) <= 0;
	int order = strcmp(version, best);

	if (was_refused(v, version))
		return;
	if (!best[0] || (known && !best_known) || (known == best_known && (order > 0) == known))
		memcpy(best, version, strlen(version) + 1);
}

static void choose_named(const struct apiversion *v, const char *text, char best[APIVERSION_SIZE])
{
	char version[APIVERSION_SIZE];
	bool is_stable = false;

	while (*text) {
		size_t n = date_at(text, &is_stable);

		if (n && is_stable) {
			memcpy(version, text, n);
			version[n] = '\0';
			consider(v, version, best);
		}
		text += n ? n : 1;
	}
}

static void choose(const struct apiversion *v, const struct http_response *r,
		   char best[APIVERSION_SIZE])
{
	cJSON *json = NULL;
	const char *text = NULL;

	best[0] = '\0';
	if (asset_json_parse(buf_str(&r->body), r->body.len, &json, NULL) == 0)
		text = error_member(json, "message");
	if (text)
		choose_named(v, text, best);
	cJSON_Delete(json);
	for (size_t i = 0; !best[0] && i < sizeof(stable) / sizeof(*stable); i++)
		consider(v, stable[i], best);
}

bool apiversion_refused(struct apiversion *v, const char *refused, const struct http_response *r)
{
	char best[APIVERSION_SIZE] = "";
	bool changed;

	pthread_mutex_lock(&v->lock);
	if (!was_refused(v, refused) && v->n_refused < APIVERSION_REFUSED)
		memcpy(v->refused[v->n_refused++], refused, strlen(refused) + 1);
	/* Somebody else's request may have found another one meanwhile. */
	changed = strcmp(v->current, refused) != 0 && !was_refused(v, v->current);
	if (!changed && !v->fixed)
		choose(v, r, best);
	if (best[0])
		memcpy(v->current, best, APIVERSION_SIZE);
	pthread_mutex_unlock(&v->lock);
	if (best[0])
		log_info("op=api-version refused=%s chosen=%s", refused, best);
	return (changed || best[0]) && !v->fixed;
}

/* ---- URLs ---- */

/* Where the value begins, in its query; NULL when there is none. */
static const char *find_value(const char *url)
{
	const char *at = strchr(url, '?');

	while (at) {
		at++;
		if (strncasecmp(at, parameter, sizeof(parameter) - 1) == 0)
			return at + sizeof(parameter) - 1;
		at = strchr(at, '&');
	}
	return NULL;
}

bool apiversion_of_url(const char *url, char out[APIVERSION_SIZE])
{
	const char *value = find_value(url);
	size_t n = value ? strcspn(value, "&") : 0;

	if (!n || n >= APIVERSION_SIZE)
		return false;
	memcpy(out, value, n);
	out[n] = '\0';
	return true;
}

int apiversion_replace(struct buf *b, const char *url, const char *version)
{
	const char *value = find_value(url);

	if (!value)
		return buf_addstr(b, url);
	buf_add(b, url, (size_t)(value - url));
	buf_addstr(b, version);
	return buf_addstr(b, value + strcspn(value, "&"));
}
