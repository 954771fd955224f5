/*
 * operations - what the service does for us in its own time (registrations and deletions in
 * registries take minutes): what is waited for, for `mlenvfs status`, and what nobody waits for any
 * more because his time was up, so that it can be looked up later. Any thread.
 */
#ifndef MLENVFS_CLIENT_OPERATIONS_H
#define MLENVFS_CLIENT_OPERATIONS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/http.h"

enum {
	OPERATIONS_LEFT_MAX = 256, /* that nobody waits for; the oldest is forgotten */
	OPERATIONS_LEFT_S = 3600,  /* none takes longer (x-ms-async-operation-timeout: PT1H) */
	OPERATION_STATE_SIZE = 64,
};

struct operations;

/* One that is waited for: on the stack of who does. Strings are borrowed until operations_end(). */
struct operation_note {
	struct operation_note *next; /* of operations.c, as the last three are */
	const char *scope;
	const char *env;
	const char *version;    /* NULL: the environment itself */
	const char *participle; /* "registered" */
	char state[OPERATION_STATE_SIZE];
	int64_t since; /* clock_wall() */
	unsigned int polls;
};

/* Where one can be asked about that nobody waits for. Strings owned. */
struct operation_left {
	char *url;     /* to poll; NULL: there is none, the resource itself says it */
	bool is_async; /* an Azure-AsyncOperation */
	char id[HTTP_ID_SIZE];
	int64_t at; /* clock_mono(); of operations.c */
};
void operation_left_clear(struct operation_left *o);

int operations_new(struct operations **out);
void operations_free(struct operations *o); /* NULL is allowed */

void operations_begin(struct operations *o, struct operation_note *n);
/* It was asked about; state (may be NULL) is what the service said. */
void operations_polled(struct operations *o, struct operation_note *n, const char *state);
void operations_end(struct operations *o, struct operation_note *n);

/* Remembers (copies) under the URL of the resource what nobody waits for any more. */
void operations_leave(struct operations *o, const char *resource, const struct operation_left *left,
		      const struct operation_note *n);

/* A copy of what is remembered of the resource; false when nothing is, or there is no memory. */
bool operations_find(struct operations *o, const char *resource, struct operation_left *out);
void operations_forget(struct operations *o, const char *resource);

/* Adds an object for each of both to a JSON array. 0 or -ENOMEM. */
int operations_json(struct operations *o, cJSON *array);

#endif
