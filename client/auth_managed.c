#include "client/auth_managed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/jsonwipe.h"
#include "client/redact.h"
#include "client/url.h"

enum { WORDS_MAX = 128, HEADERS_MAX = 2 };

enum platform {
	PLATFORM_SERVICE_FABRIC,
	PLATFORM_APP_SERVICE,
	PLATFORM_ARC,
	PLATFORM_ML,
	PLATFORM_CLOUD_SHELL,
	PLATFORM_IMDS,
};

/* Whether an IMDS is there. */
enum { PROBE_TODO, PROBE_THERE };

struct managed {
	struct auth_source base;
	struct http *http;
	enum platform platform;
	char *endpoint;
	char *secret;    /* what the platform gave this process; NULL: none */
	char *client_id; /* of a user-assigned identity; NULL: the system's */
	char *arc_dir;
	int64_t backoff;
	atomic_int probe;
};

static struct managed *managed_of(struct auth_source *s)
{
	return (struct managed *)s;
}

static void managed_free(struct auth_source *s)
{
	struct managed *m = managed_of(s);

	if (m->secret)
		explicit_bzero(m->secret, strlen(m->secret));
	free(m->secret);
	free(m->endpoint);
	free(m->client_id);
	free(m->arc_dir);
	free(m);
}

/* ---- requests ---- */

/* Appends "?api-version=...&resource=...[&client_id=...]". */
static int add_query(const struct managed *m, struct buf *url, const char *version,
		     const char *scope, const char *id_name)
{
	buf_addf(url, "%sapi-version=%s&resource=", strchr(m->endpoint, '?') ? "&" : "?", version);
	url_add_value(url, scope, auth_resource_len(scope));
	if (m->client_id && id_name) {
		buf_addf(url, "&%s=", id_name);
		url_add_value(url, m->client_id, strlen(m->client_id));
	}
	return buf_error(url);
}

struct question {
	const char *method;
	const char *url;
	struct kv headers[HEADERS_MAX];
	size_t n_headers;
	const char *body;
	bool once;
};

static int perform(struct managed *m, const struct question *q, struct call *call,
		   struct http_response *resp, struct err *e)
{
	struct http_request r = {.method = q->method,
				 .url = q->url,
				 .headers = q->headers,
				 .n_headers = q->n_headers,
				 .body = q->body,
				 .body_len = q->body ? strlen(q->body) : 0,
				 .max_body = AUTH_ANSWER_MAX,
				 .repeatable = true,
				 .once = q->once,
				 .direct = true};

	return http_perform(m->http, &r, call, resp, e);
}

/* What the endpoint says about a status, without what it was sent. */
static void words_of(const struct managed *m, const struct http_response *r, char out[WORDS_MAX])
{
	static const char *const names[] = {"error_description", "message", "error"};
	cJSON *json = NULL;
	char *text = NULL;

	out[0] = '\0';
	if (auth_json_parse(buf_str(&r->body), r->body.len, &json, NULL))
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !text; i++)
		text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, names[i]));
	if (text) {
		redact_secret(text, m->secret);
		out[0] = ':';
		out[1] = ' ';
		redact_words(text, out + 2, WORDS_MAX - 2);
	}
	json_wipe(json);
}

static int status_error(const struct managed *m, const struct http_response *r, struct err *e)
{
	int code = http_status_errno(r->status);
	char words[WORDS_MAX];

	words_of(m, r, words);
	/* 400 is its way to say that no identity is assigned to this machine. */
	if (r->status == 400 && m->platform == PLATFORM_IMDS)
		return err_set(e, AUTH_UNAVAILABLE,
			       m->client_id
				       ? "this machine has no managed identity with the client "
					 "id in AZURE_CLIENT_ID%s"
				       : "this machine has no managed identity%s",
			       words);
	if (r->status >= 400 && r->status < 500 && code != -EBUSY && code != -ETIMEDOUT)
		code = -EACCES;
	return err_set(e, code, "the managed identity's endpoint answers with status %d%s",
		       r->status, words);
}

static int finish(const struct managed *m, const struct http_response *r, int64_t asked,
		  struct auth_token *out, struct err *e)
{
	int rc;

	if (r->status != 200)
		return status_error(m, r, e);
	rc = auth_token_parse(r, asked, out, e);
	return rc ? err_prefix(e, rc, "the managed identity's endpoint: ") : 0;
}

static int ask(struct managed *m, const struct question *q, struct call *call,
	       struct auth_token *out, struct err *e)
{
	struct http_response resp = {0};
	int64_t asked = clock_boot();
	int rc = perform(m, q, call, &resp, e);

	if (!rc)
		rc = finish(m, &resp, asked, out, e);
	http_response_clear(&resp);
	return rc;
}

static void question_header(struct question *q, const char *name, const char *value)
{
	q->headers[q->n_headers++] = (struct kv){.key = name, .value = value};
}

/* ---- virtual machines ---- */

/*
 * Whether anything that can be an IMDS answers: a request without its header, as the SDKs make it.
 * Other clouds have something at this address too; that says 401, 403 or 404.
 */
static int probe(struct managed *m, const char *url, struct call *call, struct err *e)
{
	struct question q = {.method = "GET", .url = url, .once = true};
	struct http_response resp = {0};
	int64_t deadline = call->deadline;
	int rc;

	call_lower(call, clock_mono() + AUTH_IMDS_PROBE_MS * NS_PER_MS);
	rc = perform(m, &q, call, &resp, NULL);
	call->deadline = deadline;
	if (rc == -ECANCELED)
		err_set(e, rc, "cancelled");
	else if (rc || resp.status == 401 || resp.status == 403 || resp.status == 404)
		rc = err_set(e, AUTH_UNAVAILABLE,
			     "this is no machine in Azure (nothing answers at "
			     "%s)",
			     m->endpoint);
	else
		m->probe = PROBE_THERE;
	http_response_clear(&resp);
	return rc;
}

/* IMDS is restarted now and then, and says so by these. */
static bool may_pass(int rc, int status)
{
	return rc == -EIO ||
	       (!rc && (status == 404 || status == 410 || status == 429 || status >= 500));
}

static int ask_imds(struct managed *m, const char *url, struct call *call, struct auth_token *out,
		    struct err *e)
{
	struct question q = {.method = "GET", .url = url, .once = true};
	struct http_response resp = {0};
	int64_t asked, next;
	int rc, pause;

	question_header(&q, "Metadata", "true");
	for (int tries = 1;; tries++) {
		asked = clock_boot();
		rc = perform(m, &q, call, &resp, e);
		next = clock_mono() + (m->backoff << (tries - 1));
		if (tries == AUTH_IMDS_TRIES || !may_pass(rc, resp.status) ||
		    next >= call->deadline)
			break;
		pause = http_pause(m->http, call, next);
		if (pause) {
			rc = err_set(e, pause, "cancelled while waiting for the managed identity");
			break;
		}
	}
	if (!rc)
		rc = finish(m, &resp, asked, out, e);
	http_response_clear(&resp);
	return rc;
}

static int get_imds(struct managed *m, const char *scope, struct call *call, struct auth_token *out,
		    struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	int rc;

	buf_addf(&url, "%s/metadata/identity/oauth2/token", m->endpoint);
	rc = add_query(m, &url, "2018-02-01", scope, "client_id");
	if (rc)
		return err_set(e, rc, "the managed identity's address is too long");
	if (m->probe == PROBE_TODO)
		rc = probe(m, buf_str(&url), call, e);
	return rc ? rc : ask_imds(m, buf_str(&url), call, out, e);
}

/* ---- App Service, Azure ML compute, Cloud Shell ---- */

static int get_with_secret(struct managed *m, const char *version, const char *header,
			   const char *id_name, const char *scope, struct call *call,
			   struct auth_token *out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct question q = {.method = "GET"};
	int rc;

	buf_addstr(&url, m->endpoint);
	rc = add_query(m, &url, version, scope, id_name);
	if (rc)
		return err_set(e, rc, "the managed identity's address is too long");
	q.url = buf_str(&url);
	question_header(&q, header, m->secret);
	return ask(m, &q, call, out, e);
}

static int get_cloud_shell(struct managed *m, const char *scope, struct call *call,
			   struct auth_token *out, struct err *e)
{
	_cleanup_buf_ struct buf body = BUF_INIT(URL_MAX);
	struct question q = {.method = "POST", .url = m->endpoint};
	int rc;

	buf_addstr(&body, "resource=");
	rc = url_add_value(&body, scope, auth_resource_len(scope));
	if (rc)
		return err_set(e, rc, "the scope is too long");
	q.body = buf_str(&body);
	question_header(&q, "Metadata", "true");
	question_header(&q, "Content-Type", "application/x-www-form-urlencoded");
	return ask(m, &q, call, out, e);
}

/* ---- Azure Arc ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), k = strlen(end);

	return n > k && strcmp(text + n - k, end) == 0;
}

/*
 * The file that the challenge names. Only the agent's own are read: an endpoint that is not the
 * agent must not get any other file of this machine.
 */
static int challenge_path(const struct managed *m, const struct http_response *r, char *path,
			  size_t size, struct err *e)
{
	const char *challenge = http_response_header(r, "WWW-Authenticate");
	const char *realm = challenge ? strstr(challenge, "realm=") : NULL;
	size_t n, dir = strlen(m->arc_dir);

	if (r->status != 401 || !realm)
		return r->status == 401 ? err_set(e, -EACCES,
						  "Azure Arc's agent answers without a challenge")
					: status_error(m, r, e);
	realm += strlen("realm=");
	realm += *realm == '"';
	n = strcspn(realm, "\"\r\n");
	if (n >= size)
		return err_set(e, -EACCES, "Azure Arc's agent names an overlong file");
	memcpy(path, realm, n);
	path[n] = '\0';
	if (strncmp(path, m->arc_dir, dir) != 0 || strchr(path + dir, '/') ||
	    !ends_with(path + dir, ".key"))
		return err_set(e, -EACCES,
			       "the endpoint that should be Azure Arc's agent asks for a file that "
			       "is not the agent's; it gets nothing");
	return 0;
}

static int read_key(const char *path, char key[AUTH_ARC_KEY_MAX + 1], struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -EACCES,
			       "Azure Arc's file %s can't be read: %s; is the user in the group "
			       "'himds'?",
			       path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > AUTH_ARC_KEY_MAX)
		return err_set(e, -EACCES, "Azure Arc's file %s is no key", path);
	n = read(fd, key, AUTH_ARC_KEY_MAX);
	if (n <= 0)
		return err_set(e, -EACCES, "Azure Arc's file %s is empty", path);
	key[n] = '\0';
	key[strcspn(key, "\r\n")] = '\0';
	return 0;
}

static int answer_challenge(struct managed *m, const char *url, const char *path, struct call *call,
			    struct auth_token *out, struct err *e)
{
	struct buf value = BUF_INIT(AUTH_ARC_KEY_MAX + 16);
	struct question q = {.method = "GET", .url = url};
	char key[AUTH_ARC_KEY_MAX + 1];
	int rc = read_key(path, key, e);

	if (!rc && buf_addf(&value, "Basic %s", key))
		rc = err_set(e, -ENOMEM, "no memory for signing in");
	if (!rc) {
		question_header(&q, "Metadata", "true");
		question_header(&q, "Authorization", buf_str(&value));
		rc = ask(m, &q, call, out, e);
	}
	explicit_bzero(key, sizeof(key));
	buf_wipe(&value);
	return rc;
}

static int get_arc(struct managed *m, const char *scope, struct call *call, struct auth_token *out,
		   struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct question q = {.method = "GET"};
	struct http_response resp = {0};
	char path[512];
	int rc;

	if (m->client_id)
		return err_set(
			e, AUTH_UNAVAILABLE,
			"Azure Arc has no user-assigned identities, and AZURE_CLIENT_ID names "
			"one");
	buf_addstr(&url, m->endpoint);
	rc = add_query(m, &url, "2019-11-01", scope, NULL);
	if (rc)
		return err_set(e, rc, "the managed identity's address is too long");
	q.url = buf_str(&url);
	question_header(&q, "Metadata", "true");
	rc = perform(m, &q, call, &resp, e);
	if (!rc)
		rc = challenge_path(m, &resp, path, sizeof(path), e);
	http_response_clear(&resp);
	return rc ? rc : answer_challenge(m, buf_str(&url), path, call, out, e);
}

/* ---- which one ---- */

static int managed_get(struct auth_source *s, const char *scope, struct call *call,
		       struct auth_token *out, struct err *e)
{
	struct managed *m = managed_of(s);

	switch (m->platform) {
	case PLATFORM_APP_SERVICE:
		return get_with_secret(m, "2019-08-01", "X-IDENTITY-HEADER", "client_id", scope,
				       call, out, e);
	case PLATFORM_ML:
		return get_with_secret(m, "2017-09-01", "secret", "clientid", scope, call, out, e);
	case PLATFORM_ARC:
		return get_arc(m, scope, call, out, e);
	case PLATFORM_CLOUD_SHELL:
		return get_cloud_shell(m, scope, call, out, e);
	case PLATFORM_IMDS:
		return get_imds(m, scope, call, out, e);
	case PLATFORM_SERVICE_FABRIC:
		break;
	}
	return err_set(e, AUTH_UNAVAILABLE, "Service Fabric's identities are not offered");
}

static const struct auth_source_ops managed_ops = {.get = managed_get, .free = managed_free};

static enum platform platform_of(const struct auth_env *env)
{
	if (auth_env_get(env, AUTH_IDENTITY_ENDPOINT)) {
		if (auth_env_get(env, AUTH_IDENTITY_HEADER))
			return auth_env_get(env, AUTH_IDENTITY_THUMBPRINT) ? PLATFORM_SERVICE_FABRIC
									   : PLATFORM_APP_SERVICE;
		if (auth_env_get(env, AUTH_IMDS_ENDPOINT))
			return PLATFORM_ARC;
	}
	if (auth_env_get(env, AUTH_MSI_ENDPOINT))
		return auth_env_get(env, AUTH_MSI_SECRET) ? PLATFORM_ML : PLATFORM_CLOUD_SHELL;
	return PLATFORM_IMDS;
}

struct place {
	const char *endpoint;
	const char *secret;
	const char *client_id;
};

static struct place place_of(const struct auth_managed_conf *conf, enum platform platform)
{
	const struct auth_env *env = conf->env;
	struct place p = {.client_id = auth_env_get(env, AUTH_CLIENT_ID)};

	switch (platform) {
	case PLATFORM_SERVICE_FABRIC:
	case PLATFORM_APP_SERVICE:
	case PLATFORM_ARC:
		p.endpoint = auth_env_get(env, AUTH_IDENTITY_ENDPOINT);
		p.secret = auth_env_get(env, AUTH_IDENTITY_HEADER);
		break;
	case PLATFORM_ML:
		if (!p.client_id)
			p.client_id = auth_env_get(env, AUTH_DEFAULT_CLIENT_ID);
		p.secret = auth_env_get(env, AUTH_MSI_SECRET);
		p.endpoint = auth_env_get(env, AUTH_MSI_ENDPOINT);
		break;
	case PLATFORM_CLOUD_SHELL:
		p.endpoint = auth_env_get(env, AUTH_MSI_ENDPOINT);
		break;
	case PLATFORM_IMDS:
		p.endpoint = auth_env_get(env, AUTH_POD_AUTHORITY_HOST);
		if (!p.endpoint)
			p.endpoint = conf->imds_host ? conf->imds_host : AUTH_IMDS_HOST;
		break;
	}
	return p;
}

static int copy(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

int auth_managed_new(const struct auth_managed_conf *conf, struct auth_source **out, struct err *e)
{
	enum platform platform = platform_of(conf->env);
	struct place p = place_of(conf, platform);
	_cleanup_url_ struct url u = {0};
	struct managed *m;
	size_t n;

	if (url_parse(p.endpoint, &u, NULL))
		return err_set(e, -EINVAL,
			       "the managed identity's endpoint in the environment is no address");
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, -ENOMEM, "no memory for signing in");
	m->base = (struct auth_source){.ops = &managed_ops, .name = "managed-identity"};
	m->http = conf->http;
	m->platform = platform;
	m->probe = conf->probe ? PROBE_TODO : PROBE_THERE;
	m->backoff = conf->imds_backoff ? conf->imds_backoff : AUTH_IMDS_BACKOFF_S * NS_PER_S;
	if (copy(&m->endpoint, p.endpoint) || copy(&m->secret, p.secret) ||
	    copy(&m->client_id, p.client_id) ||
	    copy(&m->arc_dir, conf->arc_token_dir ? conf->arc_token_dir : AUTH_ARC_TOKEN_DIR)) {
		managed_free(&m->base);
		return err_set(e, -ENOMEM, "no memory for signing in");
	}
	n = strlen(m->endpoint);
	if (platform == PLATFORM_IMDS && m->endpoint[n - 1] == '/')
		m->endpoint[n - 1] = '\0';
	*out = &m->base;
	return 0;
}
