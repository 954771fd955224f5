/*
 * emuclient - the embedded service in a temporary directory, and a client that asks it by libcurl
 * over its Unix socket.
 */
#ifndef MLENVFS_TESTS_EMUCLIENT_H
#define MLENVFS_TESTS_EMUCLIENT_H

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <stdbool.h>

#include "emulator/emu.h"

enum { EMUCLIENT_PATH = 256 };

struct emuclient {
	struct emu *emu;
	CURL *curl;
	char dir[64]; /* of mode 0700 */
	char store[96];
	char socket[96];
	const char *token; /* sent with every request; NULL: none */
	bool fresh;        /* a new connection for every request: libcurl repeats what is lost
			      on an old one */
};

/* What came back. Free with emu_answer_free(). */
struct emu_answer {
	CURLcode rc;
	long status;
	char *body; /* "" when there is none */
	size_t len;
	char *headers;
	cJSON *json; /* NULL when the body is not JSON */
};

/* Starts the service with conf (its store is filled in; NULL: the defaults). */
void emuclient_start(struct emuclient *c, const struct emu_conf *conf);

/* Stops it, and starts it again on the same store. */
void emuclient_stop(struct emuclient *c);
void emuclient_restart(struct emuclient *c, const struct emu_conf *conf);

/* Stops it and removes its directory. */
void emuclient_end(struct emuclient *c);

/* Makes the directory without a service; sets the paths. */
void emuclient_prepare(struct emuclient *c);

/*
 * Asks. path: from the first slash, or a whole URL that was given by the service. Where a path
 * begins with "W/" or "R/", that stands for the workspace `local` or the registry `team`, and
 * api-version is added; "D/" is the data plane of registry `team`.
 */
struct emu_answer emu_ask(struct emuclient *c, const char *method, const char *path,
			  const char *body);
void emu_answer_free(struct emu_answer *a);

/* Asks and checks the status; returns the JSON (to be freed), NULL when there is none. */
cJSON *emu_ask_json(struct emuclient *c, const char *method, const char *path, const char *body,
		    long status);

/* Asks and checks the status. */
void emu_ask_status(struct emuclient *c, const char *method, const char *path, const char *body,
		    long status);

/* A member by its dotted path ("properties.tags.a"), or NULL. A number is an index of an array. */
const cJSON *json_at(const cJSON *json, const char *path);
const char *json_text_at(const cJSON *json, const char *path);

/* The value of a response header; "" when it is not there. Static storage: until the next call. */
const char *emu_header_of(const struct emu_answer *a, const char *name);

#endif
