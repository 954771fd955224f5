/*
 * POST /{tenant}/oauth2/v2.0/token, and its v1 form, .../oauth2/token, which takes a resource for a
 * scope. Source: auth.md section 2.
 */
#include "emulator/entra_form.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/crypto.h>

#include "client/base64.h"
#include "client/cleanup.h"
#include "emulator/jsonio.h"

enum { TOKEN_MAX = 16 * 1024, CLIENT_INFO_MAX = 512 };

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#define DEVICE_GRANT   "urn:ietf:params:oauth:grant-type:device_code"

struct token_request {
	struct exchange *x;
	struct entra *n;
	struct entra_form form;
	bool v1;
	struct entra_subject who;
	struct entra_scope scope;
	char user[ENTRA_TEXT_SIZE];
	char tenant[ENTRA_ID_SIZE];
};

/* ---- the client's credential ---- */

static enum entra_error check_secret(struct entra *n, const char *id, const char *secret)
{
	enum entra_error error = ENTRA_BAD_SECRET;
	unsigned char digest[DIGEST_SIZE];
	const struct entra_app *app;

	if (entra_digest(secret, digest))
		return ENTRA_INTERNAL;
	pthread_mutex_lock(&n->lock);
	app = entra_app_find(n, id);
	for (size_t i = 0; app && i < app->n_secrets; i++) {
		const struct entra_secret *s = &app->secrets[i];

		if (CRYPTO_memcmp(s->digest, digest, DIGEST_SIZE) != 0)
			continue;
		error = s->expires && s->expires <= entra_now(n) ? ENTRA_OLD_SECRET : ENTRA_OK;
		break;
	}
	pthread_mutex_unlock(&n->lock);
	explicit_bzero(digest, sizeof(digest));
	return error;
}

static enum entra_error check_assertion(struct token_request *r, const char *assertion)
{
	const char *type = entra_form_get(&r->form, "client_assertion_type");
	_cleanup_buf_ struct buf endpoint = BUF_INIT(ENTRA_FORM_MAX);
	enum entra_error error;

	if (!type || strcmp(type, ASSERTION_TYPE) != 0) {
		entra_form_about(&r->form, "client_assertion_type");
		return ENTRA_NO_PARAMETER;
	}
	buf_addf(&endpoint, "%s%s", r->x->req->base_url, r->x->req->path);
	error = entra_assertion_check(r->n, assertion, r->form.app, buf_str(&endpoint),
				      &r->who.credential);
	if (error == ENTRA_ASSERTION_AUDIENCE)
		entra_form_about(&r->form, buf_str(&endpoint));
	else if (error == ENTRA_ASSERTION_TIME)
		entra_form_about(&r->form, "it must begin by now and not have ended");
	else if (error == ENTRA_NOT_FEDERATED)
		entra_form_about(&r->form, "its issuer, subject or audience is not registered");
	return error;
}

static enum entra_error check_client(struct token_request *r)
{
	const char *secret = entra_form_get(&r->form, "client_secret");
	const char *assertion = entra_form_get(&r->form, "client_assertion");

	r->who.credential = "0";
	if (assertion)
		return check_assertion(r, assertion);
	if (!secret)
		return r->form.is_public ? ENTRA_OK : ENTRA_NO_CREDENTIAL;
	r->who.credential = "1";
	return check_secret(r->n, r->form.app, secret);
}

/* ---- what is asked for ---- */

static enum entra_error read_scope(struct token_request *r)
{
	const char *base = r->x->req->base_url, *text;
	enum entra_error error = ENTRA_OK;

	text = entra_form_need(&r->form, r->v1 ? "resource" : "scope", &error);
	if (!text)
		return error;
	if (!r->v1)
		return entra_scope_read(text, base, &r->scope, r->form.about);
	r->scope = (struct entra_scope){.is_default = true};
	r->scope.audience = entra_resource(text, strlen(text), base);
	entra_form_about(&r->form, text);
	return r->scope.audience == ENTRA_NOWHERE ? ENTRA_NO_RESOURCE : ENTRA_OK;
}

/* ---- the answer ---- */

static void add_number(struct token_request *r, const char *name, int64_t value, bool text)
{
	buf_addf(&r->x->reply->body, text ? ",\"%s\":\"%lld\"" : ",\"%s\":%lld", name,
		 (long long)value);
}

static void add_text(struct token_request *r, const char *name, const char *value)
{
	buf_addf(&r->x->reply->body, ",\"%s\":", name);
	json_add_string(&r->x->reply->body, value);
}

static void add_times(struct token_request *r, const struct entra_settings *s)
{
	bool text = r->v1 || s->text_numbers;
	int64_t now;

	add_number(r, "expires_in", s->token_s, text);
	add_number(r, "ext_expires_in", s->token_s, text);
	if (s->refresh_in_s)
		add_number(r, "refresh_in", s->refresh_in_s, text);
	if (!r->v1)
		return;
	pthread_mutex_lock(&r->n->lock);
	now = entra_now(r->n);
	pthread_mutex_unlock(&r->n->lock);
	add_number(r, "expires_on", now + s->token_s, true);
	add_number(r, "not_before", now, true);
	add_text(r, "resource", entra_audience_name(r->scope.audience));
}

static int add_client_info(struct token_request *r)
{
	_cleanup_buf_ struct buf json = BUF_INIT(CLIENT_INFO_MAX);
	_cleanup_buf_ struct buf text = BUF_INIT(CLIENT_INFO_MAX);
	char id[GUID_SIZE];

	entra_user_id(r->who.user, id);
	buf_addf(&json, "{\"uid\":\"%s\",\"utid\":\"%s\"}", id, r->who.tenant);
	base64url_add(&text, buf_str(&json), json.len);
	add_text(r, "client_info", buf_str(&text));
	return buf_error(&text);
}

/* What only a person gets. */
static int add_person(struct token_request *r)
{
	const char *name = entra_audience_name(r->scope.audience);
	const char *info = entra_form_get(&r->form, "client_info");
	struct buf id = BUF_INIT(TOKEN_MAX);
	char refresh[ENTRA_SECRET_SIZE];
	int ret = 0;

	buf_addf(&r->x->reply->body, ",\"scope\":\"%s/user_impersonation %s/.default\"", name,
		 name);
	if (r->scope.offline) {
		ret = entra_refresh_new(r->n, &r->who, refresh);
		if (!ret)
			add_text(r, "refresh_token", refresh);
		explicit_bzero(refresh, sizeof(refresh));
	}
	if (!ret && r->scope.openid) {
		ret = entra_issue_id(r->n, &r->who, r->x->req->base_url, &id);
		add_text(r, "id_token", buf_str(&id));
	}
	if (!ret && info && strcmp(info, "1") == 0)
		ret = add_client_info(r);
	buf_wipe(&id);
	return ret;
}

static enum entra_error give(struct token_request *r)
{
	struct buf token = BUF_INIT(TOKEN_MAX);
	struct entra_settings s;
	int ret;

	entra_settings(r->n, &s);
	r->who.app = r->form.app;
	r->who.object = r->form.object;
	if (!r->who.tenant)
		r->who.tenant = r->form.tenant;
	ret = entra_issue(r->n, &r->who, r->scope.audience, r->x->req->base_url, &token);
	if (!ret) {
		buf_addstr(&r->x->reply->body, "{\"token_type\":\"Bearer\"");
		add_times(r, &s);
		add_text(r, "access_token", buf_str(&token));
		if (r->who.user)
			ret = add_person(r);
		buf_addch(&r->x->reply->body, '}');
	}
	buf_wipe(&token);
	return ret ? ENTRA_INTERNAL : ENTRA_OK;
}

/* ---- the grants ---- */

static enum entra_error by_credentials(struct token_request *r)
{
	enum entra_error error;

	if (r->form.any_tenant) {
		entra_form_about(&r->form, "organizations");
		return ENTRA_NOT_A_TENANT;
	}
	/* A public client has nothing that proves who it is. */
	r->form.is_public = false;
	error = check_client(r);
	if (!error)
		error = read_scope(r);
	if (!error && !r->scope.is_default) {
		entra_form_about(&r->form, entra_form_get(&r->form, "scope"));
		error = ENTRA_NOT_DEFAULT;
	}
	return error ? error : give(r);
}

static enum entra_error for_person(struct token_request *r, const char *user, const char *tenant)
{
	memcpy(r->user, user, sizeof(r->user));
	memcpy(r->tenant, tenant, sizeof(r->tenant));
	r->who.user = r->user;
	r->who.tenant = r->tenant;
	return give(r);
}

static enum entra_error by_refresh(struct token_request *r)
{
	enum entra_error error = ENTRA_OK;
	const char *token = entra_form_need(&r->form, "refresh_token", &error);
	struct entra_grant grant = {0};

	if (!error)
		error = check_client(r);
	if (!error)
		error = read_scope(r);
	if (!error)
		error = entra_refresh_use(r->n, token, r->form.app,
					  r->form.any_tenant ? NULL : r->form.tenant, &grant);
	/* A new one comes with every answer, asked for or not. */
	r->scope.offline = true;
	return error ? error : for_person(r, grant.user, grant.tenant);
}

static enum entra_error by_device(struct token_request *r)
{
	enum entra_error error = ENTRA_OK;
	const char *code = entra_form_need(&r->form, "device_code", &error);
	struct entra_device device = {0};

	if (!error)
		error = check_client(r);
	if (!error)
		error = entra_device_poll(r->n, code, r->form.app, &device);
	if (error)
		return error;
	r->scope = device.scope;
	return for_person(r, device.user, device.tenant);
}

static enum entra_error token(struct token_request *r)
{
	static const struct {
		const char *name;
		enum entra_error (*grant)(struct token_request *r);
	} grants[] = {
		{"client_credentials", by_credentials},
		{"refresh_token", by_refresh},
		{DEVICE_GRANT, by_device},
		{"device_code", by_device}, /* what MSAL for JavaScript says */
	};
	enum entra_error error = entra_form_read(r->x, &r->form);
	const char *type;

	if (error)
		return error;
	type = entra_form_need(&r->form, "grant_type", &error);
	if (!type)
		return error;
	for (size_t i = 0; i < sizeof(grants) / sizeof(grants[0]); i++)
		if (strcmp(type, grants[i].name) == 0)
			return grants[i].grant(r);
	entra_form_about(&r->form, type);
	return ENTRA_NO_GRANT_TYPE;
}

static void answer(struct exchange *x, bool v1)
{
	struct token_request r = {.x = x, .n = x->emu->entra, .v1 = v1};
	enum entra_error error = token(&r);

	if (error)
		entra_error(x, error, r.form.about);
	entra_form_clear(&r.form);
}

void entra_token_v1(struct exchange *x)
{
	answer(x, true);
}

void entra_token_v2(struct exchange *x)
{
	answer(x, false);
}
