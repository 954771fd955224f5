#include "emulator/build_context.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/asset.h"
#include "client/buf.h"
#include "client/cleanup.h"
#include "client/url.h"
#include "client/writeall.h"
#include "emulator/blob_store.h"
#include "emulator/db.h"
#include "emulator/emu_int.h"
#include "emulator/scopes.h"

enum { URI_PATH_MAX = 16384 };

/* Where we are in laying out a context. */
struct layout {
	struct build_context *c;
	sqlite3 *conn;
	EVP_MD_CTX *hash;
	struct buf prefix; /* of the blobs' names, with a slash at its end */
	char container[CONTAINER_SIZE];
};

/* Splits "/account/container/prefix", which is percent-encoded and may have a query behind it. */
static int read_uri_path(struct layout *l, struct err *e)
{
	static const char root[] = "/" EMU_ACCOUNT "/";
	const char *path = l->c->uri_path, *prefix;
	size_t len;

	if (strncmp(path, root, sizeof(root) - 1) != 0)
		return err_set(e, -EINVAL, "the build context is not in this service: %s", path);
	path += sizeof(root) - 1;
	len = strcspn(path, "/?#");
	if (!len || len >= sizeof(l->container))
		return err_set(e, -EINVAL, "the build context's URL names no container");
	snprintf(l->container, sizeof(l->container), "%.*s", (int)len, path);
	prefix = path + len + (path[len] == '/');
	if (url_decode(&l->prefix, prefix, strcspn(prefix, "?#")))
		return err_set(e, -EINVAL, "the build context's URL is badly encoded");
	if (l->prefix.len && l->prefix.data[l->prefix.len - 1] != '/')
		buf_addch(&l->prefix, '/');
	return buf_error(&l->prefix);
}

/* No path that leads anywhere but below the directory. */
static bool path_ok(const char *path, size_t len)
{
	size_t n;

	if (!len || len >= PATH_MAX || memchr(path, '\0', len))
		return false;
	for (size_t i = 0; i <= len; i += n + 1) {
		const char *part = path + i, *slash = memchr(part, '/', len - i);

		n = slash ? (size_t)(slash - part) : len - i;
		if (!n || n > NAME_MAX || (n == 1 && part[0] == '.') ||
		    (n == 2 && part[0] == '.' && part[1] == '.'))
			return false;
	}
	return true;
}

/* Makes the directories that lead to the file; gives the last one, and the file's name in it. */
static int make_parents(int dir_fd, char *path, int *out, const char **name)
{
	int dir = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0), next;
	char *slash;

	while (dir >= 0 && (slash = strchr(path, '/'))) {
		*slash = '\0';
		if (mkdirat(dir, path, 0755) && errno != EEXIST)
			next = -1;
		else
			next = openat(dir, path, O_DIRECTORY | O_NOFOLLOW | O_RDONLY | O_CLOEXEC);
		cleanup_close_p(&dir);
		dir = next;
		path = slash + 1;
	}
	*out = dir;
	*name = path;
	return dir < 0 ? -errno : 0;
}

static int copy_bytes(struct layout *l, const struct blob *blob, int fd, EVP_MD_CTX *hash,
		      struct err *e)
{
	_cleanup_buf_ struct buf piece = BUF_INIT(BLOB_CHUNK);
	uint64_t at = 0;
	int ret = 0;

	while (at < blob->size && !ret) {
		size_t n = blob->size - at < BLOB_CHUNK ? (size_t)(blob->size - at) : BLOB_CHUNK;

		buf_reset(&piece);
		ret = blob_store_read(l->conn, blob->id, at, n, &piece, e);
		if (!ret && EVP_DigestUpdate(hash, piece.data, piece.len) != 1)
			ret = err_set(e, -EIO, "a file's hash could not be computed");
		if (!ret)
			ret = write_all(fd, piece.data, piece.len);
		at += n;
	}
	return ret;
}

/* Makes the file with the blob's bytes; digest is theirs. */
static int write_file(struct layout *l, const struct blob *blob, const char *path,
		      unsigned char digest[EVP_MAX_MD_SIZE], struct err *e)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int dir = -1, fd = -1;
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	const char *name;
	int ret;

	if (!copy || !hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(hash);
		return -ENOMEM;
	}
	ret = make_parents(l->c->dir_fd, copy, &dir, &name);
	if (!ret) {
		/* Blobs have no modes; so that programs and scripts run, all may be executed. */
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);
		ret = fd < 0 ? -errno : copy_bytes(l, blob, fd, hash, e);
	}
	if (!ret && EVP_DigestFinal_ex(hash, digest, NULL) != 1)
		ret = -EIO;
	EVP_MD_CTX_free(hash);
	return ret;
}

/* The path and the content, so that no two contexts give the hash the same bytes. */
static int hash_file(struct layout *l, const char *path, const unsigned char *digest)
{
	return EVP_DigestUpdate(l->hash, path, strlen(path) + 1) == 1 &&
			       EVP_DigestUpdate(l->hash, digest, BUILD_CONTEXT_HASH) == 1
		       ? 0
		       : -EIO;
}

static int add_file(struct layout *l, const struct blob *blob, const char *path, size_t len,
		    struct err *e)
{
	_cleanup_free_ char *own = strndup(path, len);
	unsigned char digest[EVP_MAX_MD_SIZE];
	int ret;

	if (!own)
		return err_set(e, -ENOMEM, "no memory");
	if (!path_ok(path, len))
		return err_set(e, -EINVAL,
			       "the build context has a file '%s', which is no path of a file",
			       own);
	l->c->files++;
	l->c->bytes += blob->size;
	if (l->c->files > ASSET_CONTEXT_MAX || blob->size > BUILD_CONTEXT_BYTES_MAX ||
	    l->c->bytes > BUILD_CONTEXT_BYTES_MAX)
		return err_set(e, -EFBIG,
			       "the build context has more than %d files, or more than %llu GiB",
			       ASSET_CONTEXT_MAX, BUILD_CONTEXT_BYTES_MAX >> 30);
	ret = write_file(l, blob, own, digest, e);
	if (!ret)
		ret = hash_file(l, own, digest);
	if (ret == -EEXIST || ret == -ENOTDIR || ret == -EISDIR)
		return err_set(e, -EINVAL,
			       "'%s' can't be laid out: another file of the build context has its "
			       "name, or that of one of its directories",
			       own);
	return ret && e && !e->code ? err_set(e, ret, "%s: %s", own, strerror(-ret)) : ret;
}

static bool has_prefix(const struct blob_scan *scan, const struct buf *prefix)
{
	return scan->len >= prefix->len && memcmp(scan->name, buf_str(prefix), prefix->len) == 0;
}

static int add_files(struct layout *l, struct blob_scan *scan, struct err *e)
{
	size_t skip = l->prefix.len;
	struct blob blob;
	int ret = blob_scan_seek(scan, buf_str(&l->prefix), skip, e);

	while (!ret) {
		ret = blob_scan_next(scan, &blob, e);
		if (ret || !has_prefix(scan, &l->prefix))
			break;
		if (l->c->stop(l->c->ctx))
			return err_set(e, -ECANCELED, "ended while its context was laid out");
		/* A client may have made the "directory" itself a blob. */
		if (scan->len > skip)
			ret = add_file(l, &blob, scan->name + skip, scan->len - skip, e);
		if (ret)
			return ret;
	}
	if (ret && ret != -ENOENT)
		return ret;
	return l->c->files ? 0 : err_set(e, -ENOENT, "the build context has no files");
}

static int lay_out(struct layout *l, struct err *e)
{
	struct blob_scan scan = {0};
	struct container container;
	int ret = blob_store_find_container(l->conn, l->container, &container, e);

	if (ret == -ENOENT)
		return err_set(e, ret, "the build context has no files");
	if (!ret)
		ret = blob_scan_open(l->conn, container.id, &scan, e);
	if (!ret)
		ret = add_files(l, &scan, e);
	blob_scan_close(&scan);
	if (!ret && EVP_DigestFinal_ex(l->hash, l->c->hash, NULL) != 1)
		ret = err_set(e, -EIO, "the context's hash could not be computed");
	return ret;
}

/* In one transaction, so that the files belong together. */
static int lay_out_from(struct layout *l, struct db *db, struct err *e)
{
	int ret, end;

	l->conn = db_reader(db, e);
	if (!l->conn)
		return e && e->code ? e->code : -EIO;
	ret = db_run(l->conn, e, "BEGIN", "");
	if (!ret) {
		ret = lay_out(l, e);
		end = db_run(l->conn, ret ? NULL : e, "COMMIT", "");
		ret = ret ? ret : end;
	}
	db_release(db, l->conn);
	return ret;
}

int build_context_lay_out(struct db *db, struct build_context *c, struct err *e)
{
	struct layout l = {.c = c, .hash = EVP_MD_CTX_new(), .prefix = BUF_INIT(URI_PATH_MAX)};
	struct err own = ERR_INIT;
	int ret;

	c->files = c->bytes = 0;
	if (!e)
		e = &own;
	err_clear(e);
	if (!l.hash || EVP_DigestInit_ex(l.hash, EVP_sha256(), NULL) != 1)
		ret = err_set(e, -ENOMEM, "no memory");
	else
		ret = read_uri_path(&l, e);
	if (!ret)
		ret = lay_out_from(&l, db, e);
	EVP_MD_CTX_free(l.hash);
	buf_free(&l.prefix);
	return ret;
}
