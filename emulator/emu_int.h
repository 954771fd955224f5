/*
 * emu_int - what the parts of the embedded service share: a request, a reply, the service itself.
 *
 * server.c turns libmicrohttpd's callbacks into an emu_request, asks faults.c what to do to it,
 * lets dispatch.c find the route that fills an emu_reply, and sends that. Routes know nothing of
 * libmicrohttpd; each runs on its connection's own thread and may block.
 */
#ifndef MLENVFS_EMULATOR_EMU_INT_H
#define MLENVFS_EMULATOR_EMU_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/asset.h"
#include "client/buf.h"
#include "client/err.h"
#include "emulator/certs.h"
#include "emulator/emu.h"

struct builder;
struct db;
struct fault;
struct faults;
struct counters;
struct entra;
struct server;
struct throttle;

enum {
	EMU_BODY_MAX = 128 * 1024 * 1024, /* of a request or a reply */
	EMU_JSON_MAX = 8 * 1024 * 1024,   /* of a request with a JSON body */
	EMU_HEADERS_MAX = 64,
	EMU_HEADER_VALUE_MAX = 2048,
};

struct emu_request {
	const char *method;
	const char *path;  /* as sent: percent-encoded, without the query */
	const char *query; /* as sent, without '?'; "" when there is none */
	const struct kv *headers;
	size_t n_headers;
	const struct kv
		*params; /* the query, decoded ('+' and %20 are spaces); value may be NULL */
	size_t n_params;
	const char *body;
	size_t body_len;
	const char *base_url; /* "https://host:port" or with http, as this client reaches us, no
				 slash at the end */
	const struct fault *fault; /* what is done wrong to this request; NULL: nothing */
};

struct emu_reply {
	int status;
	struct buf body;
	char content_type[64]; /* "" for none */
	struct {
		char name[64];
		char value[EMU_HEADER_VALUE_MAX];
	} headers[EMU_HEADERS_MAX];
	size_t n_headers;
	bool head_only; /* answer to HEAD: Content-Length is content_length, no body is sent */
	uint64_t content_length;
	long requests_left; /* of the caller's budget; -1: it has none */
};

struct emu {
	struct emu_conf conf; /* strings owned */
	struct db *db;
	struct faults *faults;
	struct counters *counters;
	struct server *server;
	struct throttle *throttle;
	struct builder *builder;
	struct entra *entra;
	struct certs certs; /* to speak TLS with on TCP; all NULL: plain HTTP */
	char *user;         /* who createdBy says it was: the login name of this process */
};

/* The header / query parameter of that name (any case), or NULL. */
const char *emu_header(const struct emu_request *r, const char *name);
const char *emu_param(const struct emu_request *r, const char *name);

/* Adds a header. Too long or too many: left out (they are all ours). */
void emu_reply_header(struct emu_reply *reply, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Blob routes: /{EMU_ACCOUNT}/{container}[/{blob}]. Checks SharedKey or SAS itself (or a bearer
 * token equal to conf.token). Fills reply completely, errors too.
 */
void blobs_handle(struct emu *emu, const struct emu_request *r, struct emu_reply *reply);

/* Makes a container, quietly when it is there. */
int blobs_create_container(struct emu *emu, const char *container, struct err *e);

/* The account's key (base64; made with the store and kept in it); out holds at least 128 bytes. */
int blobs_account_key(struct emu *emu, char *out, size_t size, struct err *e);

/* For how many seconds a SAS is given out. */
int emu_sas_seconds(const struct emu *emu);

/*
 * A container SAS (query string without '?'), signed with the account's key, valid for seconds.
 * permissions like "rcwl". out holds at least 512 bytes.
 */
int blobs_make_sas(struct emu *emu, const char *container, const char *permissions, int seconds,
		   char *out, size_t size, struct err *e);

/* The same for one blob, and reading it. */
int blobs_make_blob_sas(struct emu *emu, const char *container, const char *blob, int seconds,
			char *out, size_t size, struct err *e);

#endif
