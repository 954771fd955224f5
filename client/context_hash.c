#include "client/context_hash.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cleanup.h"

static const char seed[] = "Initialize for october 2021 AML CLI version";

enum { READ_BLOCK = 64 * 1024 };

static size_t part_length(const char *path)
{
	return strcspn(path, "/");
}

/*
 * The order in which a walk meets two files: part by part, lower case first, so that a directory's
 * files stay together behind its name.
 */
static int walk_compare(const char *a, const char *b)
{
	for (;;) {
		size_t na = part_length(a), nb = part_length(b), n = na < nb ? na : nb;
		int c;

		for (size_t i = 0; i < n; i++) {
			int x = tolower((unsigned char)a[i]), y = tolower((unsigned char)b[i]);

			if (x != y)
				return x - y;
		}
		if (na != nb)
			return na < nb ? -1 : 1;
		c = memcmp(a, b, n);
		if (c || !a[na] || !b[nb])
			return c ? c : (a[na] != '\0') - (b[nb] != '\0');
		a += na + 1;
		b += nb + 1;
	}
}

static int file_compare(const void *a, const void *b)
{
	return walk_compare((*(const struct upload_file *const *)a)->path,
			    (*(const struct upload_file *const *)b)->path);
}

/* Feeds the names of the directories that path has and before has not, then its own name. */
static int feed_names(EVP_MD_CTX *md, const char *path, const char *before)
{
	bool same = before != NULL;

	for (;;) {
		size_t n = part_length(path);

		same = same && part_length(before) == n && before[n] == '/' && path[n] == '/' &&
		       memcmp(before, path, n) == 0;
		if (!same && !EVP_DigestUpdate(md, path, n))
			return -EIO;
		if (!path[n])
			return 0;
		path += n + 1;
		if (same)
			before += n + 1;
	}
}

static int feed_content(EVP_MD_CTX *md, const struct upload_file *f, struct err *e)
{
	_cleanup_free_ char *block = malloc(READ_BLOCK);
	uint64_t at = 0;

	if (!block)
		return err_set(e, -ENOMEM, "no memory to read %s", f->path);
	for (;;) {
		ssize_t n = pread(f->fd, block, READ_BLOCK, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "reading %s: %s", f->path, strerror(errno));
		if (n == 0)
			break;
		at += (uint64_t)n;
		if (at > f->size || !EVP_DigestUpdate(md, block, (size_t)n))
			break;
	}
	if (at != f->size)
		return err_set(e, -EIO, "%s changed while it was read", f->path);
	return 0;
}

static int hash_files(EVP_MD_CTX *md, const struct upload_file *const *sorted, size_t n,
		      unsigned char *digest, struct err *e)
{
	unsigned int len;

	if (!EVP_DigestInit_ex(md, EVP_md5(), NULL) ||
	    !EVP_DigestUpdate(md, seed, sizeof(seed) - 1))
		return err_set(e, -EIO, "MD5 is not available");
	for (size_t i = 0; i < n; i++) {
		int rc = feed_names(md, sorted[i]->path, i ? sorted[i - 1]->path : NULL);

		rc = rc ? err_set(e, rc, "MD5 failed") : feed_content(md, sorted[i], e);
		if (rc)
			return rc;
	}
	return EVP_DigestFinal_ex(md, digest, &len) ? 0 : err_set(e, -EIO, "MD5 failed");
}

static void to_hex(const unsigned char *digest, char out[CONTEXT_HASH_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < (CONTEXT_HASH_SIZE - 1) / 2; i++) {
		out[2 * i] = digits[digest[i] >> 4];
		out[2 * i + 1] = digits[digest[i] & 15];
	}
	out[CONTEXT_HASH_SIZE - 1] = '\0';
}

int context_hash(const struct upload_file *files, size_t n, char out[CONTEXT_HASH_SIZE],
		 struct err *e)
{
	const struct upload_file **sorted = calloc(n + 1, sizeof(struct upload_file *));
	unsigned char digest[EVP_MAX_MD_SIZE] = {0};
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int rc;

	if (sorted && md) {
		for (size_t i = 0; i < n; i++)
			sorted[i] = &files[i];
		qsort(sorted, n, sizeof(struct upload_file *), file_compare);
		rc = hash_files(md, sorted, n, digest, e);
		if (!rc)
			to_hex(digest, out);
	} else {
		rc = err_set(e, -ENOMEM, "no memory to hash a build context");
	}
	EVP_MD_CTX_free(md);
	free(sorted);
	return rc;
}
