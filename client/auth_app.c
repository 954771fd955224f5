#include "client/auth_app.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/auth_cert.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "client/url.h"

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

enum { CODE_BAD_SIGNATURE = 700027, CODE_BAD_TIME = 700024, CLIENT_ID_MAX = 256 };

struct app {
	struct auth_source base;
	struct auth_entra *entra;
	char *tenant;
	char *client_id;
	char *secret; /* the client secret, or the certificate's password; may be NULL */
	char *path;   /* of the certificate or the federated token */
	bool send_chain;

	pthread_mutex_t lock;
	/* protected by lock */
	enum auth_alg alg;
};

static struct app *app_of(struct auth_source *s)
{
	return (struct app *)s;
}

static void app_free(struct auth_source *s)
{
	struct app *a = app_of(s);

	if (a->secret)
		explicit_bzero(a->secret, strlen(a->secret));
	free(a->secret);
	free(a->path);
	free(a->tenant);
	free(a->client_id);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* A GUID in practice; what matters is that it can't be anything but a value. */
static bool is_client_id(const char *text)
{
	size_t n = strnlen(text, CLIENT_ID_MAX);

	if (!n || n == CLIENT_ID_MAX)
		return false;
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\')
			return false;
	return true;
}

static int copy(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

static int app_new(const struct auth_app_id *id, const struct auth_source_ops *ops,
		   const char *name, const char *secret, const char *path, struct app **out,
		   struct err *e)
{
	struct app *a;

	if (!auth_entra_is_tenant(id->tenant))
		return err_set(e, -EINVAL, "'%.64s' is no tenant's id or domain", id->tenant);
	if (!is_client_id(id->client_id))
		return err_set(e, -EINVAL, "the client id is not valid");
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(e, -ENOMEM, "no memory for signing in");
	pthread_mutex_init(&a->lock, NULL);
	a->base = (struct auth_source){.ops = ops, .name = name};
	a->entra = id->entra;
	if (copy(&a->tenant, id->tenant) || copy(&a->client_id, id->client_id) ||
	    copy(&a->secret, secret) || copy(&a->path, path)) {
		app_free(&a->base);
		return err_set(e, -ENOMEM, "no memory for signing in");
	}
	*out = a;
	return 0;
}

static void begin(const struct app *a, const char *scope, struct auth_entra_form *form)
{
	auth_entra_form_add(form, "grant_type", "client_credentials");
	auth_entra_form_add(form, "client_id", a->client_id);
	auth_entra_form_add(form, "scope", scope);
}

/* ---- client secret ---- */

static int secret_get(struct auth_source *s, const char *scope, struct call *call,
		      struct auth_token *out, struct err *e)
{
	struct app *a = app_of(s);
	struct auth_entra_form form = {.n = 0};

	begin(a, scope, &form);
	auth_entra_form_add_secret(&form, "client_secret", a->secret);
	return auth_entra_token(a->entra, a->tenant, &form, call, out, NULL, e);
}

static const struct auth_source_ops secret_ops = {.get = secret_get, .free = app_free};

int auth_secret_new(const struct auth_app_id *id, const char *secret, struct auth_source **out,
		    struct err *e)
{
	struct app *a = NULL;
	int rc = app_new(id, &secret_ops, "environment", secret, NULL, &a, e);

	if (a)
		*out = &a->base;
	return rc;
}

/* ---- certificate ---- */

static enum auth_alg current_alg(struct app *a)
{
	enum auth_alg alg;

	pthread_mutex_lock(&a->lock);
	alg = a->alg;
	pthread_mutex_unlock(&a->lock);
	return alg;
}

static void set_alg(struct app *a, enum auth_alg alg)
{
	pthread_mutex_lock(&a->lock);
	a->alg = alg;
	pthread_mutex_unlock(&a->lock);
}

static int ask_with_assertion(struct app *a, const char *scope, const char *assertion,
			      struct call *call, struct auth_token *out,
			      struct auth_entra_refusal *why, struct err *e)
{
	struct auth_entra_form form = {.n = 0};

	begin(a, scope, &form);
	auth_entra_form_add(&form, "client_assertion_type", ASSERTION_TYPE);
	auth_entra_form_add_secret(&form, "client_assertion", assertion);
	return auth_entra_token(a->entra, a->tenant, &form, call, out, why, e);
}

static int ask_signed(struct app *a, const struct auth_cert *cert, enum auth_alg alg,
		      const char *scope, struct call *call, struct auth_token *out,
		      struct auth_entra_refusal *why, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct buf assertion = BUF_INIT(AUTH_ASSERTION_MAX);
	struct auth_claims claims = {.client_id = a->client_id, .now = auth_entra_now(a->entra)};
	int rc = auth_entra_token_url(a->entra, a->tenant, &url);

	claims.audience = buf_str(&url);
	if (!rc)
		rc = auth_cert_assertion(cert, alg, &claims, &assertion, e);
	if (!rc)
		rc = ask_with_assertion(a, scope, buf_str(&assertion), call, out, why, e);
	buf_wipe(&assertion);
	return rc;
}

static int certificate_get(struct auth_source *s, const char *scope, struct call *call,
			   struct auth_token *out, struct err *e)
{
	struct app *a = app_of(s);
	enum auth_alg alg = current_alg(a);
	struct auth_entra_refusal why = {0};
	struct auth_cert *cert = NULL;
	int rc = auth_cert_load(a->path, a->secret, a->send_chain, &cert, e);

	if (rc)
		return rc == -ENOMEM ? rc : -EACCES;
	rc = ask_signed(a, cert, alg, scope, call, out, &why, e);
	/* The answer has told what time it is there. */
	if (rc == -EACCES && why.code == CODE_BAD_TIME) {
		log_warn("op=token msg=\"the clock of this machine is wrong: trying again with the "
			 "endpoint's\"");
		rc = ask_signed(a, cert, alg, scope, call, out, &why, e);
	}
	if (rc == -EACCES && alg == AUTH_PS256 &&
	    (why.code == CODE_BAD_SIGNATURE ||
	     (!why.code && strcmp(why.error, "invalid_client") == 0))) {
		rc = ask_signed(a, cert, AUTH_RS256, scope, call, out, &why, e);
		if (!rc)
			set_alg(a, AUTH_RS256);
	}
	auth_cert_free(cert);
	return rc;
}

static const struct auth_source_ops certificate_ops = {.get = certificate_get, .free = app_free};

int auth_certificate_new(const struct auth_app_id *id, const char *path, const char *password,
			 bool send_chain, struct auth_source **out, struct err *e)
{
	struct app *a = NULL;
	int rc = app_new(id, &certificate_ops, "environment", password, path, &a, e);

	if (!a)
		return rc;
	a->send_chain = send_chain;
	*out = &a->base;
	return 0;
}

/* ---- federated token ---- */

static int read_federated(const char *path, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, -EACCES, "the federated token %s can't be read: %s", path,
			       fd < 0 ? strerror(errno) : "it is no file");
	rc = buf_read(out, fd);
	while (out->len && strchr(" \t\r\n", out->data[out->len - 1]))
		out->data[--out->len] = '\0';
	if (rc || credential_check_token(buf_str(out), out->len, NULL))
		return err_set(e, -EACCES, "the federated token %s is not usable: it is %s", path,
			       rc == -EFBIG ? "too large"
			       : rc         ? "not readable"
			       : !out->len  ? "empty"
					    : "no token");
	return 0;
}

static int federated_get(struct auth_source *s, const char *scope, struct call *call,
			 struct auth_token *out, struct err *e)
{
	struct app *a = app_of(s);
	struct buf assertion = BUF_INIT(AUTH_FEDERATED_MAX);
	int rc = read_federated(a->path, &assertion, e);

	if (!rc)
		rc = ask_with_assertion(a, scope, buf_str(&assertion), call, out, NULL, e);
	buf_wipe(&assertion);
	return rc;
}

static const struct auth_source_ops federated_ops = {.get = federated_get, .free = app_free};

int auth_federated_new(const struct auth_app_id *id, const char *path, struct auth_source **out,
		       struct err *e)
{
	struct app *a = NULL;
	int rc = app_new(id, &federated_ops, "workload-identity", NULL, path, &a, e);

	if (a)
		*out = &a->base;
	return rc;
}
