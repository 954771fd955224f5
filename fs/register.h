/*
 * register - brings one version to the service, exactly once.
 *
 * A version's name is chosen from what is known, and asked for before it is written: a name that
 * somebody took meanwhile is left to him. Before the request that makes it, the publication is
 * written down (journal.h); a request whose answer was lost is looked up. What could not be looked
 * up stays in doubt, in the journal, and is resolved later: never by sending it again.
 *
 * Requests of a publication without a context: GET of the version, which is not there, and PUT.
 * Functions block (call.h); errors as client/source.h has them. Any thread.
 */
#ifndef MLENVFS_FS_REGISTER_H
#define MLENVFS_FS_REGISTER_H

#include <stdbool.h>

#include "client/call.h"
#include "client/err.h"
#include "client/source.h"
#include "fs/fsys.h"
#include "fs/spec.h"

enum { REGISTER_DIGEST_SIZE = 65 };

/* What is to be published. Everything is borrowed. */
struct registration {
	struct scope *scope;
	const char *env;    /* the service's names */
	const char *wanted; /* the version that it must be; NULL: the next one */
	const struct spec *spec;
	const char *conda;
	const char *uri;                 /* of a context that is there already */
	const struct upload_file *files; /* else the files of a new one */
	size_t n_files;
	const char *from; /* a path below the state directory, for the journal */
};

/*
 * Publishes it. *version is the record as the service has it (a reference); *id names the journal
 * entry, which the caller ends with register_done() once the local files say what happened.
 * -EEXIST when the wanted version exists with other content.
 */
int register_version(struct fsys *fs, const struct registration *r, struct call *c,
		     struct version **version, uint64_t *id, struct err *e);
void register_done(struct fsys *fs, uint64_t id);

/*
 * Looks up the publications in doubt, those of an ended mount too. What is at the service with the
 * same content was published: its bytes in drafts and .rejected files go. Entries that can't be
 * looked up now stay. Returns how many are left.
 */
int register_resolve(struct fsys *fs, struct call *c);

/* A digest of all that a user can set: the same before and after the service has it. */
int register_digest(const struct version *v, char out[REGISTER_DIGEST_SIZE]);

/* Whether both are the same definition, tags and description left aside. */
int register_same_definition(const struct version *a, const struct version *b, bool *same);

#endif
