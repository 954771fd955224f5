/*
 * logfile - a build log on the local disk, as far as it was fetched.
 *
 * A log is long, grows at its end, and is read from anywhere: it is fetched in blocks, of which
 * each is known from its beginning to some place. The bytes lie in a file that has holes where
 * nothing was fetched; a log costs a few bytes of memory for every megabyte.
 *
 * Reference-counted; else not thread-safe: the owner's lock protects it. What is whole and not
 * added to may be read by anybody who has a reference. Errors are negative errnos.
 */
#ifndef MLENVFS_CACHE_LOGFILE_H
#define MLENVFS_CACHE_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/buf.h"

enum { LOGFILE_BLOCK = 1 << 20 };

/* Bytes of a log that are shown; what is behind them is left out. */
#define LOGFILE_MAX (UINT64_C(1) << 30)

enum { LOGFILE_DIGEST_SIZE = 65 }; /* SHA-256, in hexadecimal digits */

struct logfile;

/* An empty log in a file of its own, which has no name, in dir; -1: in memory's file system. */
int logfile_new(int dir, struct logfile **out);

/* A whole log of that size in a file that is there; takes fd, also when it fails. */
int logfile_take(int fd, uint64_t size, struct logfile **out);

struct logfile *logfile_ref(struct logfile *l);
void logfile_unref(struct logfile *l); /* NULL is allowed */

/* How long the log is; it never gets shorter. */
uint64_t logfile_size(const struct logfile *l);
int logfile_grow(struct logfile *l, uint64_t size);

/* How many bytes from offset on, at most len, were fetched. */
size_t logfile_have(const struct logfile *l, uint64_t offset, size_t len);

/* What to fetch next in order to have the byte at offset, which is in the log: at most a block. */
void logfile_missing(const struct logfile *l, uint64_t offset, uint64_t *from, size_t *len);

/*
 * Bytes of the log that were fetched; it grows when they go past its end. Those that would leave a
 * hole within their block are of no use, and dropped.
 */
int logfile_put(struct logfile *l, uint64_t offset, const char *data, size_t len);

/* Appends bytes that were fetched. */
int logfile_read(const struct logfile *l, uint64_t offset, size_t len, struct buf *out);

/* All of it was fetched. */
bool logfile_is_whole(const struct logfile *l);

/* The SHA-256 of all of it; -EIO when it is not whole, or can't be read. */
int logfile_digest(const struct logfile *l, char out[LOGFILE_DIGEST_SIZE]);

/* Writes a copy of all of it to fd, which is then on the disk. */
int logfile_copy(const struct logfile *l, int fd);

#endif
