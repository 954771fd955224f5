/*
 * verstore - environments and versions in the store: the rules of writing them, and how a row
 * becomes the resource that is sent. The callers hold the connection (db.h).
 */
#ifndef MLENVFS_EMULATOR_VERSTORE_H
#define MLENVFS_EMULATOR_VERSTORE_H

#include "emulator/exchange.h"
#include "emulator/verprops.h"

/* What became of a write. */
enum verstore_result {
	VERSTORE_CREATED,
	VERSTORE_UPDATED,  /* or found to be as it should */
	VERSTORE_CONFLICT, /* exists with other content */
	VERSTORE_CURATED,  /* exists and can't be changed */
};

struct verstore_put {
	int64_t scope;
	struct text env;
	struct text version;
	struct verprops *props; /* changed by the call */
	bool curated;           /* makes a curated one */
	int64_t polls;          /* a new version is "Creating" until it was asked for so often */
	int64_t row;            /* out: the version's row */
};

/* The row of an environment: 1 and *id, 0 when there is none, or a negative errno. */
int verstore_find_env(sqlite3 *conn, int64_t scope, struct text name, int64_t *id, bool *curated,
		      struct err *e);

/* The row of an environment, made when it is not there. *created may be NULL. */
int verstore_ensure_env(struct emu *emu, sqlite3 *conn, int64_t scope, struct text name,
			bool curated, int64_t *id, bool *created, struct err *e);

/* Creates or updates a version by the rules of section 3; a transaction is begun on conn. */
int verstore_put(struct emu *emu, sqlite3 *conn, struct verstore_put *put,
		 enum verstore_result *result, struct err *e);

/* Puts a version of any content over what is there; body is sent as it is. */
int verstore_put_raw(struct emu *emu, sqlite3 *conn, int64_t scope, struct text env,
		     struct text version, struct text body, bool archived, bool curated,
		     struct err *e);

/* Reads a version's properties back as verprops (a raw version's as far as they can be). */
int verstore_load(sqlite3 *conn, int64_t scope, struct text env, struct text version,
		  struct verprops *out, bool *curated, int64_t *row, struct err *e);

/* The list cutoff for writes: changes after it are not in lists yet. */
int64_t verstore_cutoff(const struct emu *emu);

/* What no environment may be called: the reason, or NULL when the name is fine. */
const char *verstore_name_refused(struct text name, bool registry);
const char *verstore_version_refused(struct text version);

/*
 * A version as it is sent. A SELECT of VERSION_SELECT with the list cutoff as its parameter 1 gives
 * rows of which version_add() appends one; env is the name to put into its id.
 */
#define VERSION_SELECT                                                                     \
	"SELECT v.id, v.created, v.name, IIF(v.changed <= ?1, v.archived, v.old_archived)" \
	" AS shown_archived, v.raw, IIF(v.changed <= ?1, v.body, v.old_body), v.context,"  \
	" v.dockerfile, v.created_by, v.polls FROM versions v "
void version_add(struct exchange *x, struct text env, sqlite3_stmt *row);

/*
 * An environment, in the same way. ENV_SELECT's parameter 1 is the list cutoff too.
 * Source of latestVersion (the newest by creation, active ones first): section 4.
 */
#define ENV_SELECT                                                                               \
	"SELECT e.id, e.created, e.name, IIF(e.changed <= ?1, e.archived, e.old_archived)"       \
	" AS shown_archived, IIF(e.changed <= ?1, e.body, e.old_body), e.created_by,"            \
	" (SELECT name FROM versions WHERE environment = e.id AND created <= ?1"                 \
	"  ORDER BY archived, created DESC LIMIT 1),"                                            \
	" (SELECT number FROM versions WHERE environment = e.id ORDER BY created DESC LIMIT 1)," \
	" (SELECT MAX(number) FROM versions WHERE environment = e.id) FROM environments e "
void env_add(struct exchange *x, sqlite3_stmt *row);

#endif
