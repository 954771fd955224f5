#include "cache/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "client/cleanup.h"
#include "client/sha256.h"

enum { BLOCKS_MAX = 1024, CHUNK = 64 * 1024, PRIVATE = 0600 };
_Static_assert((uint64_t)BLOCKS_MAX *LOGFILE_BLOCK == LOGFILE_MAX, "blocks of the longest log");

struct logfile {
	atomic_uint refs;
	int fd;
	uint64_t size;
	uint32_t *have; /* for every block, how much of it there is from its beginning */
	size_t blocks;
};

static size_t block_of(uint64_t offset)
{
	return (size_t)(offset / LOGFILE_BLOCK);
}

static uint64_t block_start(size_t block)
{
	return (uint64_t)block * LOGFILE_BLOCK;
}

/* ---- making ---- */

static int take_fd(int fd, struct logfile **out)
{
	struct logfile *l = calloc(1, sizeof(*l));

	if (!l) {
		close(fd);
		return -ENOMEM;
	}
	atomic_init(&l->refs, 1);
	l->fd = fd;
	*out = l;
	return 0;
}

/* A file that has no name: whatever happens to us, nothing is left behind. */
static int open_nameless(int dir)
{
	char name[64];
	int fd;

	if (dir < 0)
		return memfd_create("build.log", MFD_CLOEXEC);
	fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, PRIVATE);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
		return fd;
	/* File systems that have no such files. */
	for (unsigned int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), ".log-%d-%u", (int)getpid(), i);
		fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, PRIVATE);
		if (fd >= 0 || errno != EEXIST)
			break;
	}
	if (fd >= 0)
		(void)unlinkat(dir, name, 0);
	return fd;
}

int logfile_new(int dir, struct logfile **out)
{
	int fd = open_nameless(dir);

	*out = NULL;
	return fd < 0 ? -errno : take_fd(fd, out);
}

int logfile_take(int fd, uint64_t size, struct logfile **out)
{
	int rc;

	*out = NULL;
	rc = take_fd(fd, out);
	if (!rc)
		rc = logfile_grow(*out, size);
	if (rc) {
		logfile_unref(*out);
		*out = NULL;
		return rc;
	}
	for (size_t i = 0; i < (*out)->blocks; i++) {
		uint64_t left = size - block_start(i);

		(*out)->have[i] = left < LOGFILE_BLOCK ? (uint32_t)left : LOGFILE_BLOCK;
	}
	return 0;
}

struct logfile *logfile_ref(struct logfile *l)
{
	atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

void logfile_unref(struct logfile *l)
{
	if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
		return;
	close(l->fd);
	free(l->have);
	free(l);
}

/* ---- what there is ---- */

uint64_t logfile_size(const struct logfile *l)
{
	return l->size;
}

int logfile_grow(struct logfile *l, uint64_t size)
{
	size_t blocks;
	uint32_t *have;

	if (size > LOGFILE_MAX)
		size = LOGFILE_MAX;
	if (size <= l->size)
		return 0;
	blocks = block_of(size - 1) + 1;
	if (blocks > l->blocks) {
		have = realloc(l->have, blocks * sizeof(*have));
		if (!have)
			return -ENOMEM;
		memset(have + l->blocks, 0, (blocks - l->blocks) * sizeof(*have));
		l->have = have;
		l->blocks = blocks;
	}
	l->size = size;
	return 0;
}

size_t logfile_have(const struct logfile *l, uint64_t offset, size_t len)
{
	uint64_t at = offset;

	while (at < l->size && at - offset < len) {
		size_t block = block_of(at);
		uint64_t end = block_start(block) + l->have[block];

		if (end <= at)
			break;
		at = end;
		if (l->have[block] < LOGFILE_BLOCK)
			break;
	}
	return at - offset < len ? (size_t)(at - offset) : len;
}

void logfile_missing(const struct logfile *l, uint64_t offset, uint64_t *from, size_t *len)
{
	size_t block = block_of(offset);
	uint64_t end = block_start(block + 1);

	*from = block_start(block) + l->have[block];
	if (end > l->size)
		end = l->size;
	*len = (size_t)(end - *from);
}

static int write_all(int fd, const char *data, size_t len, off_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

/* Bytes of one block. */
static int put_block(struct logfile *l, uint64_t offset, const char *data, size_t len)
{
	size_t block = block_of(offset);
	uint64_t known = block_start(block) + l->have[block];
	int rc;

	if (offset > known || offset + len <= known)
		return 0;
	data += known - offset;
	len -= (size_t)(known - offset);
	rc = write_all(l->fd, data, len, (off_t)known);
	if (!rc)
		l->have[block] += (uint32_t)len;
	return rc;
}

int logfile_put(struct logfile *l, uint64_t offset, const char *data, size_t len)
{
	int rc;

	if (offset >= LOGFILE_MAX)
		return 0;
	if (len > LOGFILE_MAX - offset)
		len = (size_t)(LOGFILE_MAX - offset);
	rc = logfile_grow(l, offset + len);
	while (!rc && len) {
		uint64_t end = block_start(block_of(offset) + 1);
		size_t n = end - offset < len ? (size_t)(end - offset) : len;

		rc = put_block(l, offset, data, n);
		offset += n;
		data += n;
		len -= n;
	}
	return rc;
}

static int read_all(int fd, char *data, size_t len, off_t at)
{
	while (len) {
		ssize_t n = pread(fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

int logfile_read(const struct logfile *l, uint64_t offset, size_t len, struct buf *out)
{
	_cleanup_free_ char *chunk = malloc(CHUNK);
	int rc = chunk ? 0 : -ENOMEM;

	if (logfile_have(l, offset, len) < len)
		return -EIO;
	while (!rc && len) {
		size_t n = len < CHUNK ? len : CHUNK;

		rc = read_all(l->fd, chunk, n, (off_t)offset);
		if (!rc)
			rc = buf_add(out, chunk, n);
		offset += n;
		len -= n;
	}
	return rc;
}

bool logfile_is_whole(const struct logfile *l)
{
	return logfile_have(l, 0, LOGFILE_MAX) == l->size;
}

/* ---- all of it ---- */

typedef int chunk_fn(void *arg, const char *data, size_t len);

static int each_chunk(const struct logfile *l, chunk_fn *fn, void *arg)
{
	_cleanup_free_ char *chunk = malloc(CHUNK);
	int rc = chunk ? 0 : -ENOMEM;

	if (!logfile_is_whole(l))
		return -EIO;
	for (uint64_t at = 0; !rc && at < l->size; at += CHUNK) {
		size_t n = l->size - at < CHUNK ? (size_t)(l->size - at) : CHUNK;

		rc = read_all(l->fd, chunk, n, (off_t)at);
		if (!rc)
			rc = fn(arg, chunk, n);
	}
	return rc;
}

static int digest_chunk(void *arg, const char *data, size_t len)
{
	return EVP_DigestUpdate(arg, data, len) ? 0 : -EIO;
}

int logfile_digest(const struct logfile *l, char out[LOGFILE_DIGEST_SIZE])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned int n = 0;
	int rc = ctx ? 0 : -ENOMEM;

	if (!rc && !EVP_DigestInit_ex(ctx, sha256(), NULL))
		rc = -EIO;
	if (!rc)
		rc = each_chunk(l, digest_chunk, ctx);
	if (!rc && (!EVP_DigestFinal_ex(ctx, digest, &n) || 2 * n + 1 != LOGFILE_DIGEST_SIZE))
		rc = -EIO;
	EVP_MD_CTX_free(ctx);
	for (unsigned int i = 0; !rc && i < n; i++)
		snprintf(out + 2 * (size_t)i, 3, "%02x", digest[i]);
	return rc;
}

struct copying {
	int fd;
	off_t at;
};

static int copy_chunk(void *arg, const char *data, size_t len)
{
	struct copying *c = arg;
	int rc = write_all(c->fd, data, len, c->at);

	c->at += (off_t)len;
	return rc;
}

int logfile_copy(const struct logfile *l, int fd)
{
	struct copying c = {.fd = fd};
	int rc = each_chunk(l, copy_chunk, &c);

	return !rc && fsync(fd) < 0 ? -errno : rc;
}
