/*
 * entra_int - what the files of entra share.
 *
 *   entra.c          the state; keys; access tokens
 *   entra_apps.c     applications and their credentials
 *   entra_conf.c     applications and settings from JSON
 *   entra_grants.c   refresh tokens and device codes
 *   entra_scope.c    scopes and resources
 *   entra_token.c    POST .../token
 *   entra_assertion.c  JWTs that stand for a secret
 *   entra_device.c   POST .../devicecode, /devicelogin
 *   entra_meta.c     discovery documents
 *   entra_reply.c    errors and headers
 *   entra_control.c  /__mlenvfs/entra/
 */
#ifndef MLENVFS_EMULATOR_ENTRA_INT_H
#define MLENVFS_EMULATOR_ENTRA_INT_H

#include <cjson/cJSON.h>
#include <openssl/types.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "emulator/entra.h"
#include "emulator/exchange.h"
#include "emulator/jwt.h"

enum {
	ENTRA_ID_SIZE = 64,         /* an application, a tenant; with NUL */
	ENTRA_TEXT_SIZE = 256,      /* an issuer, a subject, a user's name */
	ENTRA_APPS_MAX = 256,       /* applications */
	ENTRA_CREDENTIALS_MAX = 8,  /* of one application and kind */
	ENTRA_REFRESH_MAX = 1024,   /* refresh tokens; the oldest goes */
	ENTRA_DEVICES_MAX = 64,     /* device codes under way; the oldest goes */
	ENTRA_ASSERTIONS_MAX = 256, /* that are remembered as used */
	ENTRA_SECRET_BYTES = 32,    /* of randomness in refresh tokens and device codes */
	ENTRA_FORM_MAX = 64 * 1024, /* bytes of a request */
	ENTRA_REFRESH_S = 90 * 24 * 60 * 60,
	DIGEST_SIZE = 32,
	USER_CODE_SIZE = 10, /* with NUL */
};

/* What goes wrong; entra_reply.c has the texts, in this order. */
enum entra_error {
	ENTRA_OK,
	ENTRA_NO_PARAMETER,
	ENTRA_BAD_FORM,
	ENTRA_NO_GRANT_TYPE,
	ENTRA_NO_TENANT,
	ENTRA_NOT_A_TENANT,
	ENTRA_NO_APP,
	ENTRA_BAD_SECRET,
	ENTRA_OLD_SECRET,
	ENTRA_NO_CREDENTIAL,
	ENTRA_BAD_ASSERTION,
	ENTRA_ASSERTION_KEY,
	ENTRA_ASSERTION_TIME,
	ENTRA_ASSERTION_APP,
	ENTRA_ASSERTION_AUDIENCE,
	ENTRA_ASSERTION_NO_ID,
	ENTRA_ASSERTION_USED,
	ENTRA_NOT_FEDERATED,
	ENTRA_NOT_DEFAULT,
	ENTRA_BAD_SCOPE,
	ENTRA_NO_RESOURCE,
	ENTRA_MANY_RESOURCES,
	ENTRA_BAD_REFRESH,
	ENTRA_OLD_REFRESH,
	ENTRA_REVOKED_REFRESH,
	ENTRA_PENDING,
	ENTRA_SLOW_DOWN,
	ENTRA_DECLINED,
	ENTRA_BAD_CODE,
	ENTRA_OLD_CODE,
	ENTRA_INTERNAL,
};

struct entra_secret {
	unsigned char digest[DIGEST_SIZE]; /* SHA-256 */
	int64_t expires;                   /* seconds since the epoch; 0: never */
};

struct entra_cert {
	X509 *x509;
	EVP_PKEY *key; /* the public one */
};

/* An identity provider's statements that count as a credential (workload identity). */
struct entra_federated {
	char issuer[ENTRA_TEXT_SIZE];
	char subject[ENTRA_TEXT_SIZE];
	char audience[ENTRA_TEXT_SIZE];
	EVP_PKEY *key; /* the public one of the provider */
};

struct entra_app {
	char id[ENTRA_ID_SIZE];
	char tenant[ENTRA_ID_SIZE];
	char object[GUID_SIZE]; /* of its service principal */
	bool is_public;         /* may use flows that need no secret */
	struct entra_secret secrets[ENTRA_CREDENTIALS_MAX];
	size_t n_secrets;
	struct entra_cert certs[ENTRA_CREDENTIALS_MAX];
	size_t n_certs;
	struct entra_federated federated[ENTRA_CREDENTIALS_MAX];
	size_t n_federated;
};

struct entra_settings {
	int64_t token_s;           /* lifetime of an access token */
	int64_t refresh_in_s;      /* when to renew one early; 0: not said */
	int64_t device_s;          /* lifetime of a device code */
	int64_t device_interval_s; /* between polls */
	int64_t clock_skew_s;      /* how far Azure's clock is ahead of this machine's */
	bool text_numbers;         /* numbers in answers are strings */
	bool rotate_refresh;       /* a refresh token is good for one use */
	bool assertions_once;      /* so is an assertion, by its jti */
};

struct entra_grant {
	unsigned char digest[DIGEST_SIZE]; /* of the refresh token; all zero: free */
	char app[ENTRA_ID_SIZE];
	char tenant[ENTRA_ID_SIZE];
	char user[ENTRA_TEXT_SIZE];
	int64_t expires;
	int64_t number; /* in the order that they were made */
	bool revoked;
};

/* What a scope asks for: one resource, and OpenID's own scopes. */
struct entra_scope {
	enum entra_audience audience;
	bool is_default; /* ends in /.default */
	bool openid;
	bool offline;
};

enum device_state { DEVICE_WAITING, DEVICE_APPROVED, DEVICE_DECLINED, DEVICE_USED };

struct entra_device {
	unsigned char digest[DIGEST_SIZE]; /* of the device code; all zero: free */
	char user_code[USER_CODE_SIZE];
	char app[ENTRA_ID_SIZE];
	char tenant[ENTRA_ID_SIZE];
	char user[ENTRA_TEXT_SIZE];
	struct entra_scope scope;
	enum device_state state;
	int64_t expires;
	int64_t polled; /* clock_mono(); 0: never */
	int64_t number;
};

struct entra {
	pthread_mutex_t lock;
	/* protected by lock */
	struct entra_app *apps[ENTRA_APPS_MAX];
	size_t n_apps;
	struct entra_settings settings;
	EVP_PKEY *key; /* NULL: not made yet */
	char key_id[GUID_SIZE];
	int64_t issued;        /* access tokens */
	int64_t revoked;       /* those up to this number */
	bool revoked_by_claim; /* and say so in the way of continuous access evaluation */
	int64_t numbers;
	struct entra_grant grants[ENTRA_REFRESH_MAX];
	struct entra_device devices[ENTRA_DEVICES_MAX];
	unsigned char assertions[ENTRA_ASSERTIONS_MAX][DIGEST_SIZE]; /* digests of jti */
	size_t next_assertion;
};

/* ---- entra_apps.c: call those on applications with the lock; entra_tenant() takes it ---- */

/* NULL when there is none of that id. */
struct entra_app *entra_app_find(struct entra *n, const char *id);

/* Takes app, in the place of one with its id. -ENOSPC. */
int entra_app_put(struct entra *n, struct entra_app *app);
bool entra_app_remove(struct entra *n, const char *id);
void entra_app_free(struct entra_app *app);

/* Whether it is one of the names that stand for all tenants. */
bool entra_any_tenant(struct text tenant);

/* The tenant as its applications write it; the service's own for all. false: nothing is in it. */
bool entra_tenant(struct entra *n, struct text tenant, char out[ENTRA_ID_SIZE]);

/* ---- entra_conf.c ---- */

/* Reads one application. -EBADMSG with a text. */
int entra_conf_app(const char *id, const cJSON *json, struct entra_app **out, struct err *e);

/* Changes the settings that are named. -EBADMSG with a text; nothing is changed then. */
int entra_conf_settings(const cJSON *json, struct entra_settings *s, struct err *e);

/* ---- entra.c ---- */

/* Seconds since the epoch on Azure's clock. Call with the lock. */
int64_t entra_now(const struct entra *n);
void entra_settings(struct entra *n, struct entra_settings *out); /* a copy; takes the lock */

/* A random text of ENTRA_SECRET_BYTES, and the digest that is kept of it. -EIO. */
enum { ENTRA_SECRET_SIZE = 64 };
int entra_secret_new(char out[ENTRA_SECRET_SIZE], unsigned char digest[DIGEST_SIZE]);
int entra_digest(const char *text, unsigned char digest[DIGEST_SIZE]);

/* Who a token is for. user NULL: the application itself. */
struct entra_subject {
	const char *app;
	const char *object; /* of an application */
	const char *tenant;
	const char *user;
	const char *credential; /* appidacr: "0" none, "1" secret, "2" certificate */
};

/* Appends a signed access token, or an id token for that application. -EIO, -ENOMEM. */
int entra_issue(struct entra *n, const struct entra_subject *who, enum entra_audience audience,
		const char *base_url, struct buf *out);
int entra_issue_id(struct entra *n, const struct entra_subject *who, const char *base_url,
		   struct buf *out);

/* Appends the public key as a JSON Web Key. */
int entra_add_key(struct entra *n, struct buf *out);

/* A user's id, always the same for a name. */
void entra_user_id(const char *user, char out[GUID_SIZE]);

/* ---- entra_grants.c: these take the lock ---- */

/* Makes a refresh token. -EIO. */
int entra_refresh_new(struct entra *n, const struct entra_subject *who,
		      char out[ENTRA_SECRET_SIZE]);

/* Fills *out with what a refresh token is for. tenant NULL: any. 0 or an enum entra_error. */
enum entra_error entra_refresh_use(struct entra *n, const char *token, const char *app,
				   const char *tenant, struct entra_grant *out);

/* Makes a device code. -EIO. */
int entra_device_new(struct entra *n, const char *app, const char *tenant,
		     const struct entra_scope *scope, char code[ENTRA_SECRET_SIZE],
		     char user_code[USER_CODE_SIZE]);

/* A poll: 0 and *out when the user has agreed (once), else an enum entra_error. */
enum entra_error entra_device_poll(struct entra *n, const char *code, const char *app,
				   struct entra_device *out);

/* The user's answer. false: no such code is waiting. */
bool entra_device_answer(struct entra *n, struct text user_code, const char *user, bool agree);

/* ---- entra_scope.c ---- */

/* 0, or an enum entra_error; *bad is the scope or resource that it is about. */
enum entra_error entra_scope_read(const char *scope, const char *base_url, struct entra_scope *out,
				  char bad[ENTRA_TEXT_SIZE]);

/* The audience of a resource as v1 endpoints and az name it. */
enum entra_audience entra_resource(const char *resource, size_t len, const char *base_url);
const char *entra_audience_name(enum entra_audience audience);

/* ---- entra_assertion.c ---- */

/*
 * Whether an assertion proves that the request comes from app. endpoint: the URL it was sent to.
 * *credential gets the appidacr. 0, or an enum entra_error.
 */
enum entra_error entra_assertion_check(struct entra *n, const char *assertion, const char *app,
				       const char *endpoint, const char **credential);

/* ---- entra_reply.c ---- */

/* Makes the reply that error; about: what it is about, or NULL. */
void entra_error(struct exchange *x, enum entra_error error, const char *about);

#endif
