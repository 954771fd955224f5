#include "fs/refuse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "client/cleanup.h"
#include "client/sha256.h"
#include "fs/edit.h"
#include "fs/edits.h"
#include "fs/local.h"
#include "fs/node.h"
#include "fs/upper.h"

enum { READ_BLOCK = 64 * 1024 };

static bool hash_descriptor(int fd, EVP_MD_CTX *md, unsigned char out[EVP_MAX_MD_SIZE])
{
	_cleanup_free_ unsigned char *block = malloc(READ_BLOCK);
	ssize_t n = block ? 1 : -1;

	while (n > 0) {
		n = read(fd, block, READ_BLOCK);
		if (n > 0 && !EVP_DigestUpdate(md, block, (size_t)n))
			return false;
	}
	return n == 0 && EVP_DigestFinal_ex(md, out, NULL);
}

/* Of a file's name and bytes; false when they can't be read. */
static bool digest_of(struct fsys *fs, const char *path, const char *rel, uint64_t *digest)
{
	_cleanup_close_ int fd =
		openat(local_fd(fs->local), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	EVP_MD_CTX *md = fd < 0 ? NULL : EVP_MD_CTX_new();
	unsigned char all[EVP_MAX_MD_SIZE];
	bool done = md && EVP_DigestInit_ex(md, sha256(), NULL) &&
		    EVP_DigestUpdate(md, rel, strlen(rel) + 1) && hash_descriptor(fd, md, all);

	if (done)
		memcpy(digest, all, sizeof(*digest));
	EVP_MD_CTX_free(md);
	return done;
}

/* Whether what lies at .rejected has to keep a name of its own. */
static bool is_wanted(struct fsys *fs, const char *vdir, const char *rel, const char *from,
		      const char *there, const struct proc_id *who)
{
	uint64_t now, before;
	struct edit known = {0};
	bool back;

	if (!digest_of(fs, from, rel, &now))
		return true;
	back = edits_refused(fs->edits, vdir, now);
	if (digest_of(fs, there, rel, &before) && before == now)
		return false;
	return back || !edits_get(fs->edits, vdir, rel, &known) || !known.attempted ||
	       !known.result || !proc_same(&known.owner, who);
}

static void set_aside(struct fsys *fs, const char *path)
{
	int dir = local_fd(fs->local);

	for (int i = 1; i <= REFUSED_MAX; i++) {
		_cleanup_free_ char *other = NULL;

		if (asprintf(&other, "%s.%d", path, i) < 0) {
			other = NULL;
			return;
		}
		if (!renameat2(dir, path, dir, other, RENAME_NOREPLACE)) {
			node_moved_local(fs->nodes, path, other);
			return;
		}
		if (errno != EEXIST)
			return;
	}
}

/* A whole copy, or what was there before. */
static int put_copy(struct fsys *fs, const char *from, const char *to)
{
	_cleanup_free_ char *copy = edit_temporary_path(fs);
	int dir = local_fd(fs->local), rc = copy ? edit_copy_file(fs, from, copy) : -ENOMEM;

	if (!rc && renameat(dir, copy, dir, to) < 0)
		rc = -errno;
	if (rc && copy)
		unlinkat(dir, copy, 0);
	return rc;
}

/* On a full disk: the file itself, which is about to lose its other name. */
static int put_link(struct fsys *fs, const char *from, const char *to)
{
	int dir = local_fd(fs->local);

	unlinkat(dir, to, 0);
	return linkat(dir, from, dir, to, 0) < 0 ? -errno : 0;
}

int refuse_bytes(struct fsys *fs, const char *vdir, const char *rel, const char *from,
		 const struct proc_id *who, const char *reason)
{
	_cleanup_free_ char *name = upper_rejected_name(rel);
	_cleanup_free_ char *to = name ? upper_path(fs, UPPER_LOCAL, vdir, name) : NULL;
	int rc = to ? local_make_parents(fs->local, to) : -ENOMEM;

	if (rc)
		return rc;
	if (is_wanted(fs, vdir, rel, from, to, who))
		set_aside(fs, to);
	rc = put_copy(fs, from, to);
	if (rc)
		rc = put_link(fs, from, to);
	if (!rc)
		edit_note(fs, to, reason);
	return rc;
}
