/* mini_file - open files. */
#include "tests/model/mini_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static bool for_writing(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

static struct mini_file *file_new(struct mini *m, struct mini_inode *inode, int flags,
				  const struct fuse_file_info *fi)
{
	struct mini_file *f = calloc(1, sizeof(*f));

	if (!f)
		exit(1);
	*f = (struct mini_file){
		.m = m, .inode = inode, .fi = *fi, .flags = flags, .descriptors = 1};
	f->fi.flags = flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC);
	inode->opens++;
	f->next = m->files;
	f->link = &m->files;
	if (f->next)
		f->next->link = &f->next;
	m->files = f;
	return f;
}

static void file_free(struct mini_file *f)
{
	f->inode->opens--;
	*f->link = f->next;
	if (f->next)
		f->next->link = f->link;
	free(f);
}

void mini_crash(struct mini *m)
{
	while (m->files)
		file_free(m->files);
}

static void release(struct mini_file *f, pid_t by)
{
	struct fuse_req *req =
		mini_request(f->m, by, for_writing(f->flags) ? "release" : "release of a reader");
	struct fuse_file_info fi = f->fi;

	ops_table.release(req, f->inode->ino, &fi);
	mini_wait(req, REPLY_ERR); /* nobody hears its result */
	file_free(f);
}

void mini_release_all(struct mini *m)
{
	while (m->files)
		release(m->files, 0);
}

/* ---- opening ---- */

static int open_there(struct mini *m, pid_t by, struct mini_inode *inode, int flags,
		      struct mini_file **out)
{
	struct fuse_file_info fi = {.flags = flags & ~(O_CREAT | O_EXCL | O_NOCTTY)};
	struct fuse_req *req;
	int rc;

	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		return -EEXIST;
	if (inode->type == S_IFLNK)
		return -ELOOP;
	if (inode->type == S_IFDIR)
		return -EISDIR;
	req = mini_request(m, by, for_writing(flags) ? "open" : "open to read");
	ops_table.open(req, inode->ino, &fi);
	rc = mini_wait(req, REPLY_OPEN);
	if (!rc)
		*out = file_new(m, inode, flags, &req->fi);
	return rc;
}

static int create(struct mini *m, pid_t by, const struct mini_place *p, int flags, mode_t mode,
		  struct mini_file **out)
{
	struct fuse_req *req = mini_request(m, by, "create");
	struct fuse_file_info fi = {.flags = flags & ~O_NOCTTY};
	struct mini_inode *inode;
	int rc;

	ops_table.create(req, p->dir, p->name, S_IFREG | (mode & 0777), &fi);
	rc = mini_wait(req, REPLY_CREATE);
	if (rc)
		return rc;
	inode = mini_told(m, &req->entry, p->name);
	if (!inode)
		return -EIO;
	*out = file_new(m, inode, flags, &req->fi);
	return 0;
}

int mini_open(struct mini *m, pid_t by, const char *path, int flags, mode_t mode,
	      struct mini_file **out)
{
	bool follow = !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
	struct mini_place place;
	int rc = mini_walk(m, by, path, follow, &place);

	if (rc)
		return rc;
	if (place.inode)
		return open_there(m, by, place.inode, flags, out);
	return flags & O_CREAT ? create(m, by, &place, flags, mode, out) : -ENOENT;
}

/* ---- closing ---- */

void mini_dup(struct mini_file *f)
{
	f->descriptors++;
}

int mini_flush(struct mini_file *f, pid_t by)
{
	struct fuse_file_info fi = f->fi;
	struct fuse_req *req;

	if (!ops_table.flush)
		return 0;
	req = mini_request(f->m, by, for_writing(f->flags) ? "flush" : "flush of a reader");
	fi.flush = 1;
	fi.lock_owner = (uint64_t)by;
	ops_table.flush(req, f->inode->ino, &fi);
	return mini_wait(req, REPLY_ERR);
}

int mini_close(struct mini_file *f, pid_t by)
{
	int rc = mini_flush(f, by);

	if (!--f->descriptors)
		release(f, by);
	return rc;
}

int mini_close_mapped(struct mini_file *f, pid_t by)
{
	return mini_flush(f, by);
}

void mini_unmap(struct mini_file *f, pid_t by)
{
	if (!--f->descriptors)
		release(f, by);
}

/* ---- content ---- */

static ssize_t write_at(struct mini_file *f, pid_t by, const void *data, size_t len, off_t off,
			bool page)
{
	struct fuse_req *req = mini_request(f->m, by, "write");
	struct fuse_file_info fi = f->fi;
	int rc;

	fi.writepage = page;
	ops_table.write(req, f->inode->ino, data, len, off, &fi);
	rc = mini_wait(req, REPLY_COUNT);
	if (rc)
		return rc;
	if (req->count > len)
		mini_complain(f->m, "write answered %zu of %zu bytes", req->count, len);
	return (ssize_t)req->count;
}

int mini_write_page(struct mini_file *f, pid_t by, const void *data, size_t len, off_t off)
{
	ssize_t n = write_at(f, by, data, len, off, true);

	return n < 0 ? (int)n : (size_t)n == len ? 0 : -EIO;
}

ssize_t mini_pwrite(struct mini_file *f, pid_t by, const void *data, size_t len, off_t off)
{
	struct stat st;
	int rc;

	if (!for_writing(f->flags))
		return -EBADF;
	if (!len)
		return 0; /* the kernel's own answer */
	if (f->flags & O_APPEND) {
		rc = mini_fstat(f, by, &st);
		if (rc)
			return rc;
		off = st.st_size;
	}
	return write_at(f, by, data, len, off, false);
}

ssize_t mini_pread(struct mini_file *f, pid_t by, void *data, size_t len, off_t off)
{
	struct fuse_file_info fi = f->fi;
	struct fuse_req *req;
	int rc;

	if ((f->flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	req = mini_request(f->m, by, "read");
	ops_table.read(req, f->inode->ino, len, off, &fi);
	rc = mini_wait(req, REPLY_DATA);
	if (rc)
		return rc;
	if (req->len > len)
		mini_complain(f->m, "read answered %zu of %zu bytes", req->len, len);
	len = req->len < len ? req->len : len;
	if (len)
		memcpy(data, req->data, len);
	return (ssize_t)len;
}

int mini_ftruncate(struct mini_file *f, pid_t by, off_t size)
{
	struct stat attr = {.st_size = size};
	struct fuse_file_info fi = f->fi;
	struct fuse_req *req;

	if (!for_writing(f->flags))
		return -EINVAL;
	req = mini_request(f->m, by, "ftruncate");
	ops_table.setattr(req, f->inode->ino, &attr, FUSE_SET_ATTR_SIZE, &fi);
	return mini_wait(req, REPLY_ATTR);
}

int mini_fallocate(struct mini_file *f, pid_t by, off_t size)
{
	struct fuse_file_info fi = f->fi;
	struct fuse_req *req;

	if (!ops_table.fallocate)
		return -EOPNOTSUPP;
	req = mini_request(f->m, by, "fallocate");
	ops_table.fallocate(req, f->inode->ino, 0, 0, size, &fi);
	return mini_wait(req, REPLY_ERR);
}

int mini_fsync(struct mini_file *f, pid_t by)
{
	struct fuse_req *req = mini_request(f->m, by, "fsync");
	struct fuse_file_info fi = f->fi;

	ops_table.fsync(req, f->inode->ino, 0, &fi);
	return mini_wait(req, REPLY_ERR);
}

int mini_fstat(struct mini_file *f, pid_t by, struct stat *st)
{
	struct fuse_req *req = mini_request(f->m, by, "fstat");
	struct fuse_file_info fi = f->fi;
	int rc;

	ops_table.getattr(req, f->inode->ino, &fi);
	rc = mini_wait(req, REPLY_ATTR);
	if (!rc)
		*st = req->attr;
	return rc;
}
