#include "client/auth_entra.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/jsonwipe.h"
#include "client/redact.h"
#include "client/url.h"

enum { SHOWN_MAX = 300 /* bytes of the endpoint's own words */ };

struct auth_entra {
	struct http *http;
	char *authority;
	_Atomic int64_t skew; /* seconds that its clock is ahead of ours */
};

/* ---- settings ---- */

int auth_entra_check_authority(const char *text, const char *what, struct buf *out, struct err *e)
{
	_cleanup_buf_ struct buf full = BUF_INIT(URL_MAX);
	_cleanup_url_ struct url u = {0};
	int rc;

	if (!strstr(text, "://"))
		buf_addstr(&full, "https://");
	buf_addstr(&full, text);
	if (buf_error(&full) || url_parse(buf_str(&full), &u, NULL) || u.query ||
	    strcmp(u.path, "/") != 0)
		return err_set(e, -EINVAL,
			       "%s is no address like https://login.microsoftonline.com", what);
	if (!u.https && !url_is_loopback(&u))
		return err_set(e, -EINVAL,
			       "%s is not https: nobody signs in at %s over a line that others can "
			       "read",
			       what, u.host);
	rc = url_add_origin(out, &u);
	return rc ? err_set(e, rc, "no memory for %s", what) : 0;
}

bool auth_entra_is_tenant(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.");

	return n && n <= URL_HOST_MAX && !text[n] && text[0] != '.';
}

int auth_entra_new(struct http *http, const char *authority, struct auth_entra **out, struct err *e)
{
	struct auth_entra *en = calloc(1, sizeof(*en));

	if (en)
		en->authority = strdup(authority);
	if (!en || !en->authority) {
		auth_entra_free(en);
		return err_set(e, -ENOMEM, "no memory for signing in");
	}
	en->http = http;
	*out = en;
	return 0;
}

void auth_entra_free(struct auth_entra *en)
{
	if (!en)
		return;
	free(en->authority);
	free(en);
}

const char *auth_entra_authority(const struct auth_entra *en)
{
	return en->authority;
}

static int endpoint_url(const struct auth_entra *en, const char *tenant, const char *endpoint,
			struct buf *url)
{
	buf_addf(url, "%s/", en->authority);
	url_add_segment(url, tenant, strlen(tenant));
	return buf_addf(url, "/oauth2/v2.0/%s", endpoint);
}

int auth_entra_token_url(const struct auth_entra *en, const char *tenant, struct buf *url)
{
	return endpoint_url(en, tenant, "token", url);
}

int64_t auth_entra_now(struct auth_entra *en)
{
	return clock_wall() / NS_PER_S + en->skew;
}

/* ---- forms ---- */

static void form_add(struct auth_entra_form *f, const char *name, const char *value, bool secret)
{
	if (f->n == ENTRA_FIELDS_MAX)
		return;
	f->fields[f->n].name = name;
	f->fields[f->n].value = value;
	f->fields[f->n++].secret = secret;
}

void auth_entra_form_add(struct auth_entra_form *f, const char *name, const char *value)
{
	form_add(f, name, value, false);
}

void auth_entra_form_add_secret(struct auth_entra_form *f, const char *name, const char *value)
{
	form_add(f, name, value, true);
}

static int form_write(const struct auth_entra_form *f, struct buf *body)
{
	for (size_t i = 0; i < f->n; i++) {
		const char *value = f->fields[i].value;

		buf_addf(body, "%s%s=", i ? "&" : "", f->fields[i].name);
		url_add_value(body, value, strlen(value));
	}
	return buf_error(body);
}

/* A hostile or careless endpoint that repeats what we sent must not bring it into a log. */
static void mask_secrets(const struct auth_entra_form *f, char *text)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->fields[i].secret)
			redact_secret(text, f->fields[i].value);
}

/* ---- refusals ---- */

/* What to do about the refusals that people meet. Source: auth.md section 2. */
static const struct {
	long code;
	const char *advice;
} known[] = {
	{7000215, "the client secret is wrong; the secret's value is needed, not its id"},
	{7000222, "the client secret has run out; make a new one for the application"},
	{7000112, "the application is disabled in this tenant"},
	{700016, "there is no application with this client id in this tenant"},
	{700027, "the certificate's signature is not accepted; is the certificate uploaded to the "
		 "application, and not run out?"},
	{700024, "the assertion is outside its time: the clock of this machine is wrong"},
	{70021,
	 "no federated credential of the application matches the token's issuer, subject and "
	 "audience"},
	{700211, "no federated credential of the application matches the token's issuer"},
	{700213, "no federated credential of the application matches the token's subject"},
	{90002, "there is no such tenant; check the tenant's id, and the cloud"},
	{900023, "this is no tenant's id or domain"},
	{700082, "the sign-in has run out after a long time without use; sign in again"},
	{70008, "the sign-in has run out; sign in again"},
	{50173, "the sign-in was revoked, as after a change of password; sign in again"},
	{50076, "multi-factor authentication is demanded; sign in again"},
	{50079, "multi-factor authentication must be set up; sign in with a browser first"},
	{50020, "this account is not in the tenant; sign in with --tenant"},
	{50034, "there is no such account in the tenant"},
	{50057, "the account is disabled"},
	{53003, "a Conditional Access policy of the tenant forbids it"},
	{65001, "nobody has consented to the application yet; an administrator can"},
	{500011, "the tenant has no such resource; check the cloud"},
};

static const char *advice_for(long code)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].code == code)
			return known[i].advice;
	return NULL;
}

static void read_refusal(const cJSON *json, struct auth_entra_refusal *why)
{
	const char *error = auth_json_text(json, "error"),
		   *words = auth_json_text(json, "error_description");
	const cJSON *code =
		cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "error_codes"), 0);

	snprintf(why->error, sizeof(why->error), "%s", error);
	if (strspn(why->error, "abcdefghijklmnopqrstuvwxyz_") != strlen(why->error))
		why->error[0] = '\0';
	if (cJSON_IsNumber(code) && code->valuedouble > 0 && code->valuedouble < 1e9)
		why->code = (long)code->valuedouble;
	else if (strncmp(words, "AADSTS", 6) == 0)
		why->code = strtol(words + 6, NULL, 10);
}

/* The first sentence or two of the description: what follows "Trace ID" helps nobody. */
static void shown_words(const cJSON *json, const struct auth_entra_form *form, char out[SHOWN_MAX])
{
	char *words =
		cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "error_description"));
	char *end, *code;

	out[0] = '\0';
	if (!words)
		return;
	code = strncmp(words, "AADSTS", 6) == 0 ? strstr(words, ": ") : NULL;
	if (code)
		words = code + 2;
	end = strstr(words, " Trace ID");
	words[end ? (size_t)(end - words) : strcspn(words, "\r\n")] = '\0';
	mask_secrets(form, words);
	redact_words(words, out, SHOWN_MAX);
}

static int refused(const cJSON *json, const struct auth_entra_form *form,
		   struct auth_entra_refusal *why, struct err *e)
{
	const char *advice = advice_for(why->code);
	char words[SHOWN_MAX], code[32] = "";

	shown_words(json, form, words);
	if (why->code)
		snprintf(code, sizeof(code), "AADSTS%ld", why->code);
	return err_set(e, -EACCES, "Microsoft Entra ID refuses it (%s%s%s): %s", code,
		       code[0] && why->error[0] ? ", " : "", why->error,
		       advice   ? advice
		       : *words ? words
				: "it does not say why");
}

/* A status that is no success, in an errno and words. */
static int status_error(const struct http_response *r, const struct auth_entra_form *form,
			struct auth_entra_refusal *why, struct err *e)
{
	int code = http_status_errno(r->status);
	cJSON *json = NULL;

	if (r->status >= 400 && r->status < 500 && code != -EBUSY && code != -ETIMEDOUT &&
	    !auth_json_parse(buf_str(&r->body), r->body.len, &json, NULL)) {
		read_refusal(json, why);
		if (why->error[0] || why->code)
			code = refused(json, form, why, e);
		json_wipe(json);
		if (code == -EACCES && (why->error[0] || why->code))
			return code;
	}
	return err_set(e, code == -ENOENT || code == -EINVAL ? -EBADMSG : code,
		       "the sign-in endpoint answers with status %d", r->status);
}

/* ---- requests ---- */

static void learn_skew(struct auth_entra *en, const struct http_response *r)
{
	en->skew = auth_answer_time(r) - clock_wall() / NS_PER_S;
}

static int post(struct auth_entra *en, const char *tenant, const char *endpoint,
		const struct auth_entra_form *form, struct call *call, struct http_response *resp,
		struct err *e)
{
	struct kv headers[] = {{"Accept", "application/json"},
			       {"Content-Type", "application/x-www-form-urlencoded"}};
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct buf body = BUF_INIT(ENTRA_FORM_MAX);
	struct http_request r = {.method = "POST",
				 .headers = headers,
				 .n_headers = 2,
				 .max_body = AUTH_ANSWER_MAX,
				 .repeatable = true};
	int rc = endpoint_url(en, tenant, endpoint, &url);

	if (!rc)
		rc = form_write(form, &body);
	if (rc) {
		err_set(e, rc, "the request to sign in can't be written");
	} else {
		r.url = buf_str(&url);
		r.body = buf_str(&body);
		r.body_len = body.len;
		rc = http_perform(en->http, &r, call, resp, e);
		if (rc)
			err_prefix(e, rc, "signing in at %s: ", en->authority);
		else
			learn_skew(en, resp);
	}
	buf_wipe(&body);
	return rc;
}

int auth_entra_token(struct auth_entra *en, const char *tenant, const struct auth_entra_form *form,
		     struct call *call, struct auth_token *out, struct auth_entra_refusal *why,
		     struct err *e)
{
	struct auth_entra_refusal unseen = {0};
	struct http_response resp = {0};
	int64_t asked = clock_boot();
	int rc;

	why = why ? why : &unseen;
	*why = (struct auth_entra_refusal){0};
	rc = post(en, tenant, "token", form, call, &resp, e);
	if (!rc && resp.status != 200)
		rc = status_error(&resp, form, why, e);
	else if (!rc && auth_token_parse(&resp, asked, out, e))
		rc = err_prefix(e, -EBADMSG, "signing in at %s: ", en->authority);
	http_response_clear(&resp);
	return rc;
}

int auth_entra_post(struct auth_entra *en, const char *tenant, const char *endpoint,
		    const struct auth_entra_form *form, struct call *call, cJSON **out,
		    struct auth_entra_refusal *why, struct err *e)
{
	struct http_response resp = {0};
	int rc = post(en, tenant, endpoint, form, call, &resp, e);

	*out = NULL;
	*why = (struct auth_entra_refusal){0};
	if (!rc && resp.status != 200)
		rc = status_error(&resp, form, why, e);
	else if (!rc && auth_json_parse(buf_str(&resp.body), resp.body.len, out, e))
		rc = err_prefix(e, -EBADMSG, "signing in at %s: ", en->authority);
	http_response_clear(&resp);
	return rc;
}
