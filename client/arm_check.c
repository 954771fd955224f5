#include "client/arm_check.h"

#include <errno.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/datastore.h"

#define SUBSCRIPTION_API_VERSION "2022-12-01"

enum { NAME_SHOWN = 128 };

static int read_subscription(const struct arm *a, const struct http_response *r, struct buf *what,
			     struct err *e)
{
	const char *name;
	cJSON *json = NULL;
	int rc = asset_json_parse(buf_str(&r->body), r->body.len, &json, e);

	if (rc)
		return rc;
	name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "displayName"));
	buf_addf(what, "'%.*s'", NAME_SHOWN, name && *name ? name : a->subscription);
	cJSON_Delete(json);
	return 0;
}

/* What an error status means for this one question. */
static int subscription_error(const char *url, const struct http_response *r, struct err *e)
{
	struct buf words = BUF_INIT(ERR_MSG_MAX);
	int rc;

	arm_error_words(r, &words);
	rc = arm_error("GET", url, r, e);
	if (r->status == 403)
		rc = -EPERM;
	else if (r->status == 404 && strncmp(buf_str(&words), "SubscriptionNotFound", 20) != 0)
		rc = -EOPNOTSUPP;
	buf_free(&words);
	return rc;
}

int arm_check_subscription(struct source *source, struct call *c, struct buf *what, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm *a = arm_of(source);
	struct arm_call q = {.method = "GET"};
	struct http_response r = {0};
	int rc;

	buf_addf(&url, "%s/subscriptions", a->endpoint);
	arm_add_segment(&url, a->subscription);
	buf_addstr(&url, "?api-version=" SUBSCRIPTION_API_VERSION);
	q.url = buf_str(&url);
	rc = arm_perform(a, &q, c, &r, e);
	if (!rc)
		rc = r.status == 200 ? read_subscription(a, &r, what, e)
				     : subscription_error(q.url, &r, e);
	http_response_clear(&r);
	return rc;
}

static const char *access_words(const struct blob_access *access)
{
	switch (access->kind) {
	case BLOB_SHARED_KEY:
		return "with the account's key";
	case BLOB_SAS:
		return "with a signature";
	case BLOB_BEARER:
		return "with your own token";
	case BLOB_ANONYMOUS:
		break;
	}
	return "without a secret";
}

/* One name of the container's list, whatever it is. */
static int peek(struct arm *a, const struct blob_place *place, const struct blob_access *access,
		struct call *c, struct err *e)
{
	static const struct kv params[] = {
		{"restype", "container"}, {"comp", "list"}, {"maxresults", "1"}};
	struct blob_request q = {.method = "GET",
				 .params = params,
				 .n_params = sizeof(params) / sizeof(*params),
				 .max_body = BLOB_LIST_MAX};
	struct http_response r = {0};
	int rc = blob_perform(a->http, place, access, &q, c, &r, e);

	if (!rc && http_status_errno(r.status))
		rc = blob_error(place, &q, &r, e);
	http_response_clear(&r);
	return rc;
}

int arm_check_storage(struct source *source, struct scope *scope, struct call *c, struct buf *what,
		      struct err *e)
{
	_cleanup_place_ struct blob_place place = {0};
	_cleanup_access_ struct blob_access access = {0};
	struct arm *a = arm_of(source);
	int rc = datastore_upload_place(a, scope, c, &place, e);

	if (rc)
		return rc;
	rc = datastore_access(a, scope, &place, false, c, &access, e);
	buf_addf(what, "container %s at %s, %s", place.container, place.origin.host,
		 access_words(&access));
	return rc ? rc : peek(a, &place, &access, c, e);
}
