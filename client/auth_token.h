/*
 * auth_token - an access token, and how long it lives by our own clock.
 *
 * Lifetimes are measured with CLOCK_BOOTTIME from before the request: neither a wrong wall clock
 * nor a machine that sleeps makes a dead token look alive. Source: auth.md sections 2, 3 and 6.
 */
#ifndef MLENVFS_CLIENT_AUTH_TOKEN_H
#define MLENVFS_CLIENT_AUTH_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "client/buf.h"
#include "client/credential.h"
#include "client/err.h"
#include "client/http.h"

enum {
	AUTH_ANSWER_MAX = 256 * 1024, /* bytes of an answer that should hold a token */
	AUTH_LIFE_MAX_S = 48 * 3600,  /* a token is asked for again after so long at the latest */
	AUTH_LIFE_UNKNOWN_S = 300,    /* believed of one that does not say how long it lives */
	AUTH_AHEAD_S = 300,           /* of its life left: time for a new one */
};

/* Zero-initialise; auth_token_clear() when done. */
struct auth_token {
	struct buf value;
	struct buf refresh; /* a refresh token that came along; may be empty */
	int64_t expires;    /* clock_boot() time */
	int64_t renew;      /* clock_boot() time from which on a new one is better */
};

/* Wipes and frees. */
void auth_token_clear(struct auth_token *t);

/*
 * Reads the answer of a token endpoint, of a managed identity or the like (status 200): JSON with
 * access_token and one of expires_in (seconds; a number or a text), expires_on (seconds since the
 * epoch, or a date) - none of them is believed to mean five minutes. asked: clock_boot() before the
 * request. -EBADMSG when there is no token in it; the text never holds any of the answer.
 */
int auth_token_parse(const struct http_response *r, int64_t asked, struct auth_token *out,
		     struct err *e);

/* The same of JSON that has no head, with other names (the Azure CLI). now: seconds since the epoch
 * by the clock that the absolute times are in. */
struct auth_token_names {
	const char *token;
	const char *in;   /* NULL: there is none */
	const char *on;   /* epoch; NULL: there is none */
	const char *date; /* "2023-01-31 12:34:56.000000", local time; NULL: there is none */
};
int auth_token_parse_json(const cJSON *json, const struct auth_token_names *names, int64_t asked,
			  int64_t now, struct auth_token *out, struct err *e);

/* Sets when it ends and when it is to be renewed; seconds of life, refresh_in 0 when unknown. */
void auth_token_set_life(struct auth_token *t, int64_t asked, double life, double refresh_in);

/* Seconds since the epoch by the Date header of an answer, else by our own clock. */
int64_t auth_answer_time(const struct http_response *r);

/*
 * Parses text as JSON; whatever it is, the caller wipes and frees it with json_wipe().
 * -EBADMSG with a text that holds none of it.
 */
int auth_json_parse(const char *text, size_t len, cJSON **out, struct err *e);

/* A member that is a text; "" when it is none. Borrowed. */
const char *auth_json_text(const cJSON *json, const char *name);

#endif
