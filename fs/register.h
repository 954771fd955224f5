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
	const char *from; /* for the journal: a draft's path, or that of an edited file (upper.h) */
	const char *bytes; /* where the file's bytes lie; NULL: a draft has many */
};

/*
 * Publishes it. *version is the record as the service has it (a reference); *id names the journal
 * entry, which the caller ends with register_done() once the local files say what happened.
 * -EEXIST when the wanted version exists with other content.
 */
int register_version(struct fsys *fs, const struct registration *r, struct call *c,
		     struct version **version, uint64_t *id, struct err *e);

/*
 * Whether register_version() could get its name, without registering anything: that the service is
 * there, lets us in, and has no such version. The register_version() that follows does not ask
 * again.
 */
int register_probe(struct fsys *fs, const struct registration *r, struct call *c, struct err *e);

/* What an errno of the source means for a save: -EBADMSG says there that the environment is not
 * valid, not that an answer is. */
int register_errno(int rc);
void register_done(struct fsys *fs, uint64_t id);

/*
 * A change of tags or description is about to be sent that makes the record `expected`: written
 * down, so that it is known after a crash whether it was done. register_updated() says what came of
 * it.
 */
int register_update(struct fsys *fs, const struct registration *r, const struct version *expected,
		    uint64_t *id, struct err *e);
void register_updated(struct fsys *fs, uint64_t *id, int rc);

/*
 * Looks up the publications in doubt. What is at the service with the same content was published:
 * its bytes in drafts and .rejected files go. Entries that can't be looked up now stay. Returns how
 * many are left, or a negative errno.
 */
int register_resolve(struct fsys *fs, struct call *c);

/* The same for the journal of a mount that has ended. */
struct journal;
int register_resolve_of(struct fsys *fs, struct journal *journal, struct call *c);

/* A digest of all that a user can set: the same before and after the service has it. */
int register_digest(const struct version *v, char out[REGISTER_DIGEST_SIZE]);

/* Whether both are the same definition, tags and description left aside. */
int register_same_definition(const struct version *a, const struct version *b, bool *same);

#endif
