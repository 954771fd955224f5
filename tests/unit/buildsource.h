/*
 * buildsource - a struct source that has nothing but the image builds of one version, for tests:
 * the state and the log are what the test says, and it counts what it was asked.
 *
 * The name that it gives the log carries a signature; an old one is refused after
 * buildsource_renew().
 */
#ifndef MLENVFS_TESTS_BUILDSOURCE_H
#define MLENVFS_TESTS_BUILDSOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/source.h"

enum build_op { OP_START, OP_GET, OP_CANCEL, OP_READ, OP_IMAGE, OP_FIND, OP_EXPECT, BUILD_OPS };

struct buildsource;

struct buildsource *buildsource_new(void);
void buildsource_free(struct buildsource *b);
struct source *buildsource_source(struct buildsource *b);

/* What the operation says from now on: "Running", ... */
void buildsource_state(struct buildsource *b, const char *status);

/* Adds to the log; before the first time there is none. */
void buildsource_write(struct buildsource *b, const char *data, size_t len);

/* Another log from now on, empty: that of the next build. */
void buildsource_next_log(struct buildsource *b);

/* Signatures that were given so far are too old. */
void buildsource_renew(struct buildsource *b);

/* Whether the image is there, and somebody else's log to be found. */
void buildsource_image(struct buildsource *b, bool exists);
void buildsource_found(struct buildsource *b, bool found);

/* Calls of op fail with rc (0: don't). */
void buildsource_fail(struct buildsource *b, enum build_op op, int rc);

/* Calls of read_log stay inside until let go. */
void buildsource_hold(struct buildsource *b, bool hold);

unsigned int buildsource_calls(struct buildsource *b, enum build_op op);
unsigned int buildsource_all_calls(struct buildsource *b);

#endif
