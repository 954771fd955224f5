/*
 * buildstore - what is remembered of image builds, on the local disk: where a build can be asked
 * about, how it ended, and the logs of those that ended. Mounts of one service share a directory.
 *
 * A record is a small JSON file, replaced as a whole; a kept log is a file beside it whose size and
 * SHA-256 the record says. What is read back is checked like an answer of the service: what is
 * doubtful is dropped. Logs are kept up to a size in all, least recently used first out.
 *
 * Any thread. Errors are negative errnos.
 */
#ifndef MLENVFS_CACHE_BUILDSTORE_H
#define MLENVFS_CACHE_BUILDSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/logfile.h"
#include "client/asset.h"
#include "client/image.h"

enum {
	BUILDSTORE_RECORDS_MAX = 20000,
	BUILDSTORE_RECORD_MAX = 64 * 1024, /* bytes of one record */
	BUILDSTORE_NAME_SIZE = 33,
};

/* The newest build of a version that is known here. Strings owned: build_record_clear(). */
struct build_record {
	char *location; /* of its operation; NULL: somebody else's build, only its log was found */
	char *log;      /* the log's address without a signature; NULL: not known yet */
	char *image;    /* what came out, to be pulled; NULL: not known */
	char *stage;    /* the service's own word for the state; NULL: none */
	enum image_state state;
	bool final;       /* it has ended, */
	bool settled;     /* and its log will not grow any more */
	uint64_t size;    /* of the log */
	int64_t started;  /* clock_wall(); tells which of two builds is the newer one */
	int64_t modified; /* when the log was seen to grow last; clock_wall() */
	char digest[LOGFILE_DIGEST_SIZE]; /* of the log that is kept; "": none is */
};

void build_record_clear(struct build_record *r);
int build_record_copy(const struct build_record *from, struct build_record *to);

/* Which version: all of these are compared with what a record says. Borrowed. */
struct build_of {
	const struct scope *scope;
	const char *env;
	const char *version;
	int64_t created; /* a version that was deleted and made anew is another one */
};

struct buildstore;

/* dir: borrowed until buildstore_close(); -1: nothing is remembered. logs_max: bytes of logs. */
int buildstore_open(int dir, uint64_t logs_max, struct buildstore **out);
void buildstore_close(struct buildstore *s); /* NULL is allowed */

/* Where the files of running logs may lie; -1: nowhere. */
int buildstore_dir(const struct buildstore *s);

/*
 * The record of a version; *stamp (never 0) is another one after every change of it. -ENOENT when
 * there is none that can be trusted.
 */
int buildstore_load(struct buildstore *s, const struct build_of *of, struct build_record *out,
		    int64_t *stamp);

/* The stamp of what buildstore_load() would give; 0: there is nothing. */
int64_t buildstore_stamp(struct buildstore *s, const struct build_of *of);

/*
 * Replaces the record; it is on the disk when this returns. -ESTALE when that of a build which was
 * started later is there.
 */
int buildstore_save(struct buildstore *s, const struct build_of *of, const struct build_record *r,
		    int64_t *stamp);

/* Keeps a whole log, and fills in its digest for buildstore_save(). */
int buildstore_keep(struct buildstore *s, const struct build_of *of, const struct logfile *log,
		    struct build_record *r);

/* The log that is kept. -ENOENT when there is none, or it is not what the record says. */
int buildstore_log(struct buildstore *s, const struct build_of *of, const struct build_record *r,
		   struct logfile **out);

/* The file name, without its ending, for a version; the same on every machine. */
void buildstore_name(const struct build_of *of, char out[BUILDSTORE_NAME_SIZE]);

#endif
