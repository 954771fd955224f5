#include "client/blob_copy.h"

#include <errno.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/sharedkey.h"

enum {
	SOURCE_URL_MAX = 2048, /* bytes: the service's limit */
	CANONICAL_MAX = 2 * ASSET_PATH_MAX,
	/* Longer than a copy may take, whatever our clock is off by and still signs requests. */
	SIGNED_FOR_S = 30 * 60,
};

/* A signature to read this blob and nothing else, in its URL's query. */
static int add_own_sas(const struct blob_place *p, const char *key, const char *name, size_t len,
		       struct buf *url, struct err *e)
{
	_cleanup_buf_ struct buf canonical = BUF_INIT(CANONICAL_MAX);
	char until[CLOCK_ISO_SIZE];
	struct sas sas = {.sv = BLOB_API_VERSION,
			  .sr = "b",
			  .st = "",
			  .se = until,
			  .sp = "r",
			  .spr = p->origin.https ? "https" : ""};

	if (memchr(name, '\0', len) || memchr(name, '\n', len))
		return err_set(e, -EINVAL, "a blob of that name can't be signed for");
	buf_addf(&canonical, "/blob/%s/%s/", p->account, p->container);
	buf_add(&canonical, name, len);
	if (buf_error(&canonical))
		return err_set(e, buf_error(&canonical), "the blob's name is too long");
	sharedkey_sas_time(clock_wall() + SIGNED_FOR_S * NS_PER_S, until);
	sas.canonical = buf_str(&canonical);
	return sharedkey_add_sas(url, &sas, key, e);
}

static int add_token(struct credential *credential, struct call *c, struct buf *out, struct err *e)
{
	struct buf token = BUF_INIT(CREDENTIAL_TOKEN_MAX);
	int rc = credential_get_token(credential, SCOPE_STORAGE, c, &token, e);

	if (!rc && token.len) {
		rc = buf_addf(out, "Bearer %s", buf_str(&token));
		if (rc)
			err_set(e, rc, "the access token can't be sent");
	}
	buf_wipe(&token);
	return rc;
}

int blob_source_make(const struct blob_place *p, const struct blob_access *a, const char *name,
		     size_t len, struct call *c, struct blob_source *out, struct err *e)
{
	int rc = 0;

	*out = (struct blob_source){.url = BUF_INIT(SOURCE_URL_MAX),
				    .authorization = BUF_INIT(CREDENTIAL_TOKEN_MAX + 16)};
	blob_add_url(&out->url, p, "");
	url_add_path(&out->url, name, len);
	if (a->kind == BLOB_SHARED_KEY) {
		buf_addch(&out->url, '?');
		rc = add_own_sas(p, a->secret, name, len, &out->url, e);
	} else if (a->kind == BLOB_SAS) {
		buf_addf(&out->url, "?%s", a->secret);
	} else if (a->kind == BLOB_BEARER) {
		rc = add_token(a->credential, c, &out->authorization, e);
	}
	if (!rc && buf_error(&out->url))
		rc = err_set(e, buf_error(&out->url), "the blob's address is too long");
	return rc;
}

void blob_source_clear(struct blob_source *s)
{
	buf_wipe(&s->url);
	buf_wipe(&s->authorization);
}
