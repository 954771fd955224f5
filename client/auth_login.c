#include "client/auth_login.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/jsonwipe.h"
#include "client/log.h"
#include "client/url.h"

enum { CODE_MAX = 4096, SHOWN_MAX = 512, SCOPE_MAX = 512 };

/* ---- the code ---- */

struct device {
	char *code;
	int64_t interval; /* ns */
	int64_t until;    /* clock_mono() */
};

static double seconds_of(const cJSON *json, const char *name, double fallback, double max)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
	double d = cJSON_IsNumber(item)   ? item->valuedouble
		   : cJSON_IsString(item) ? strtod(item->valuestring, NULL)
					  : fallback;

	if (!isfinite(d) || d <= 0)
		d = fallback;
	return d < max ? d : max;
}

/* What a terminal gets from the network has nothing in it that a terminal would act on. */
static void show(const struct auth_login_conf *conf, const cJSON *json)
{
	char message[SHOWN_MAX];

	snprintf(message, sizeof(message), "To sign in, open %s in a browser and enter the code %s",
		 auth_json_text(json, "verification_uri"), auth_json_text(json, "user_code"));
	for (char *p = message; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			*p = '?';
	conf->show(conf->show_arg, message);
}

static int read_device(const struct auth_login_conf *conf, const cJSON *json, struct device *out,
		       struct err *e)
{
	const char *code = auth_json_text(json, "device_code");

	if (!*code || strlen(code) > CODE_MAX || !*auth_json_text(json, "user_code"))
		return err_set(e, -EBADMSG, "the sign-in endpoint gives no code");
	out->code = strdup(code);
	if (!out->code)
		return err_set(e, -ENOMEM, "no memory for signing in");
	out->interval = (int64_t)(seconds_of(json, "interval", AUTH_LOGIN_INTERVAL_S,
					     AUTH_LOGIN_INTERVAL_MAX_S) *
				  (double)NS_PER_S);
	out->until = clock_mono() + (int64_t)(seconds_of(json, "expires_in", AUTH_LOGIN_EXPIRES_S,
							 AUTH_LOGIN_EXPIRES_MAX_S) *
					      (double)NS_PER_S);
	show(conf, json);
	return 0;
}

static int ask_for_code(const struct auth_login_conf *conf, struct call *call, struct device *out,
			struct err *e)
{
	struct auth_entra_form form = {.n = 0};
	struct auth_entra_refusal why;
	char scope[SCOPE_MAX];
	cJSON *json = NULL;
	int rc;

	snprintf(scope, sizeof(scope), "%s offline_access", conf->scope);
	auth_entra_form_add(&form, "client_id", conf->client_id);
	auth_entra_form_add(&form, "scope", scope);
	rc = auth_entra_post(conf->entra, conf->tenant, "devicecode", &form, call, &json, &why, e);
	if (!rc)
		rc = read_device(conf, json, out, e);
	json_wipe(json);
	return rc;
}

/* ---- waiting for it to be typed in ---- */

/* Whether to go on after a failure; changes how often. */
static bool goes_on(const struct auth_login_conf *conf, struct device *d, int rc,
		    const struct auth_entra_refusal *why)
{
	if (rc == -EACCES && strcmp(why->error, "slow_down") == 0) {
		d->interval += conf->slower ? conf->slower : AUTH_LOGIN_SLOWER_S * NS_PER_S;
		return true;
	}
	if (rc == -EACCES)
		return strcmp(why->error, "authorization_pending") == 0;
	/* A line that is down for a while does not undo what is typed elsewhere. */
	return rc == -EHOSTUNREACH || rc == -EIO || rc == -ETIMEDOUT || rc == -EBUSY;
}

static int explain(const struct auth_entra_refusal *why, int rc, struct err *e)
{
	if (strcmp(why->error, "authorization_declined") == 0 ||
	    strcmp(why->error, "access_denied") == 0)
		return err_set(e, -EACCES, "the sign-in was declined");
	if (strcmp(why->error, "expired_token") == 0)
		return err_set(e, -EACCES, "the code was not entered in time; try again");
	return rc;
}

static int poll_for_token(const struct auth_login_conf *conf, struct device *d, struct call *call,
			  struct auth_token *token, struct err *e)
{
	struct auth_entra_form form = {.n = 0};
	struct auth_entra_refusal why;
	int rc;

	auth_entra_form_add(&form, "grant_type", "urn:ietf:params:oauth:grant-type:device_code");
	auth_entra_form_add(&form, "client_id", conf->client_id);
	auth_entra_form_add_secret(&form, "device_code", d->code);
	for (;;) {
		int64_t next = clock_mono() + d->interval;

		if (next > d->until)
			return err_set(e, -EACCES, "the code was not entered in time; try again");
		rc = http_pause(conf->http, call, next);
		if (rc)
			return err_set(e, rc, "the sign-in was not finished");
		rc = auth_entra_token(conf->entra, conf->tenant, &form, call, token, &why, e);
		if (!rc || !goes_on(conf, d, rc, &why))
			return rc ? explain(&why, rc, e) : 0;
	}
}

int auth_login_device(const struct auth_login_conf *conf, struct call *call, struct auth_login *out,
		      struct err *e)
{
	struct auth_token token = {0};
	struct device d = {0};
	int rc = ask_for_code(conf, call, &d, e);

	if (!rc)
		rc = poll_for_token(conf, &d, call, &token, e);
	if (!rc && !token.refresh.len)
		rc = err_set(e, -EBADMSG,
			     "the sign-in endpoint gives nothing to stay signed in with");
	if (!rc &&
	    auth_login_set(out, auth_entra_authority(conf->entra), conf->tenant, conf->client_id))
		rc = err_set(e, -ENOMEM, "no memory for signing in");
	if (!rc) {
		out->refresh = token.refresh;
		token.refresh = (struct buf){0};
	}
	if (d.code)
		explicit_bzero(d.code, strlen(d.code));
	free(d.code);
	auth_token_clear(&token);
	return rc;
}

/* ---- tokens from what is kept ---- */

struct login {
	struct auth_source base;
	struct auth_entra *entra;
	char *path;
};

static struct login *login_of(struct auth_source *s)
{
	return (struct login *)s;
}

static void login_free(struct auth_source *s)
{
	free(login_of(s)->path);
	free(s);
}

static int load(const struct login *l, struct call *call, struct auth_login *out, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = auth_store_load(l->path, call, out, &why);

	if (rc == -ENOENT)
		return err_set(e, AUTH_UNAVAILABLE, "nobody has signed in with 'mlenvfs login'");
	if (rc)
		return err_set(e, rc == -ECANCELED || rc == -ETIMEDOUT ? rc : -EACCES, "%s",
			       why.msg);
	if (strcmp(out->authority, auth_entra_authority(l->entra)) == 0)
		return 0;
	err_set(e, AUTH_UNAVAILABLE, "'mlenvfs login' was done at %s, and this is %s",
		out->authority, auth_entra_authority(l->entra));
	auth_login_clear(out);
	return AUTH_UNAVAILABLE;
}

static int refresh(const struct login *l, const struct auth_login *kept, const char *scope,
		   struct call *call, struct auth_token *out, struct auth_entra_refusal *why,
		   struct err *e)
{
	struct auth_entra_form form = {.n = 0};
	char scopes[SCOPE_MAX];

	snprintf(scopes, sizeof(scopes), "%s offline_access", scope);
	auth_entra_form_add(&form, "grant_type", "refresh_token");
	auth_entra_form_add(&form, "client_id", kept->client_id);
	auth_entra_form_add_secret(&form, "refresh_token", buf_str(&kept->refresh));
	auth_entra_form_add(&form, "scope", scopes);
	return auth_entra_token(l->entra, kept->tenant, &form, call, out, why, e);
}

static bool is_kept(const struct login *l, const struct auth_login *kept, struct call *call)
{
	struct auth_login now = {0};
	bool is = !load(l, call, &now, NULL) &&
		  strcmp(buf_str(&now.refresh), buf_str(&kept->refresh)) == 0;

	auth_login_clear(&now);
	return is;
}

/*
 * The answer may hold a new one, which lives longer than the old. It takes the place of that one
 * only: somebody may have signed out, or in anew, while it was on its way.
 */
static void keep_newer(const struct login *l, struct auth_login *kept, struct auth_token *token,
		       struct call *call)
{
	struct err e = ERR_INIT;
	struct buf old = kept->refresh;

	if (!token->refresh.len || strcmp(buf_str(&token->refresh), buf_str(&old)) == 0 ||
	    !is_kept(l, kept, call))
		return;
	kept->refresh = token->refresh;
	token->refresh = old;
	if (auth_store_save(l->path, kept, call, &e))
		log_warn("op=login msg=\"the renewed sign-in is not kept: %s\"", e.msg);
}

/* Another process may have renewed it, or somebody signed in anew, since it was read. */
static bool has_changed(const struct login *l, struct auth_login *kept, struct call *call)
{
	struct auth_login now = {0};
	bool changed = !load(l, call, &now, NULL) &&
		       strcmp(buf_str(&now.refresh), buf_str(&kept->refresh)) != 0;

	if (changed) {
		struct auth_login old = *kept;

		*kept = now;
		now = old;
	}
	auth_login_clear(&now);
	return changed;
}

static int login_get(struct auth_source *s, const char *scope, struct call *call,
		     struct auth_token *out, struct err *e)
{
	struct login *l = login_of(s);
	struct auth_entra_refusal why = {0};
	struct auth_login kept = {0};
	int rc = load(l, call, &kept, e);

	if (!rc) {
		rc = refresh(l, &kept, scope, call, out, &why, e);
		if (rc == -EACCES && strcmp(why.error, "invalid_grant") == 0 &&
		    has_changed(l, &kept, call))
			rc = refresh(l, &kept, scope, call, out, &why, e);
		if (!rc)
			keep_newer(l, &kept, out, call);
		else if (rc == -EACCES && strcmp(why.error, "invalid_grant") == 0)
			err_prefix(e, rc, "'mlenvfs login' is needed again: ");
	}
	auth_login_clear(&kept);
	return rc;
}

static const struct auth_source_ops login_ops = {.get = login_get, .free = login_free};

int auth_login_new(struct auth_entra *entra, const char *path, struct auth_source **out,
		   struct err *e)
{
	struct login *l = calloc(1, sizeof(*l));

	if (l)
		l->path = strdup(path);
	if (!l || !l->path) {
		free(l);
		return err_set(e, -ENOMEM, "no memory for signing in");
	}
	l->base = (struct auth_source){.ops = &login_ops, .name = "login"};
	l->entra = entra;
	*out = &l->base;
	return 0;
}
