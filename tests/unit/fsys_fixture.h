/*
 * fsys_fixture - a mounted file system without a kernel: put together as fs/mount.c does it, over a
 * source in memory and a state directory of its own, with a clock that the test moves (of lists,
 * edits and removed names; deadlines are real).
 *
 * The source has the scope "ws" and no environments. Everything here fails the test when it can't
 * be done.
 */
#ifndef MLENVFS_TESTS_FSYS_FIXTURE_H
#define MLENVFS_TESTS_FSYS_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/clock.h"
#include "fs/fsys.h"
#include "fs/proc.h"
#include "tests/unit/memsource.h"

enum { FSYS_PATH = 512 };

#define FSYS_REFRESH (30 * NS_PER_S)

struct fsys_fixture {
	char dir[64]; /* of the disk; the state directory is "state" in it */
	struct memsource *m;
	struct scope *scope;
	int64_t quiet; /* of settle.h; set it before fsys_mount() */
	int kept_dir, journal_dir;
	struct fsys fs;
	struct call call; /* of fsys_call() */
	bool called;
	bool mounted;
	unsigned int before[MEM_OPS]; /* requests that are not counted any more */
};

/* For cmocka_unit_test_setup_teardown(): *state is the fixture, mounted. */
int fsys_setup(void **state);
int fsys_teardown(void **state);

/* The state directory stays between an unmount and the next mount. */
void fsys_mount(struct fsys_fixture *f);
void fsys_unmount(struct fsys_fixture *f);

/* Lets the clock go on. */
void fsys_pass(int64_t ns);

/* A call with ten seconds from now; borrowed until the next one. */
struct call *fsys_call(struct fsys_fixture *f);

/* ---- the service ---- */

/* Adds a version, and its environment when that is not there; knows of it at once. */
void fsys_publish(struct fsys_fixture *f, const struct version *fields);

/* Makes the catalog know the versions of an environment. */
void fsys_know(struct fsys_fixture *f, const char *env);

/* How many requests of each kind there were since the last fsys_forget_requests(). */
unsigned int fsys_requests(struct fsys_fixture *f, enum mem_op op);
unsigned int fsys_all_requests(struct fsys_fixture *f);
void fsys_forget_requests(struct fsys_fixture *f);

/* ---- the tree ---- */

/* The node at that path in the mount ("ws/env/1/spec.yml"), with one lookup more; NULL: none. */
struct node *fsys_node(struct fsys_fixture *f, const char *path);

/* ---- the disk: paths below the state directory ---- */

/* "<scope>/<env>/<version>"; returns out. */
const char *fsys_vdir(struct fsys_fixture *f, const char *env, const char *version,
		      char out[FSYS_PATH]);

/* The path of a file of a version in one of its areas ("shown", "edit", ".local", ".kept", or "",
 * for a draft); returns out. */
const char *fsys_path(struct fsys_fixture *f, const char *area, const char *env,
		      const char *version, const char *rel, char out[FSYS_PATH]);

/* Writes a file, its directories made. */
void fsys_write(struct fsys_fixture *f, const char *path, const char *text);

bool fsys_exists(struct fsys_fixture *f, const char *path);

/* Fails the test when the file says something else; NULL: when it is there. */
void fsys_assert_file(struct fsys_fixture *f, const char *path, const char *expected);

/* How many files lie at or below a path. */
unsigned int fsys_count(struct fsys_fixture *f, const char *path);

/* ---- processes ---- */

/* A process that waits to be ended. */
struct fsys_child {
	pid_t pid;
	struct proc_id id;
	int tell;
};
void fsys_child_start(struct fsys_child *c);
void fsys_child_end(struct fsys_child *c); /* it is collected when this returns */

#endif
