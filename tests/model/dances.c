#include "tests/model/dances.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct dancer {
	struct model *m;
	int proc;
	const char *path;
	const void *data;
	size_t len;
	enum step_close how;
	char temp[TREE_PATH];   /* beside it */
	char backup[TREE_PATH]; /* path~ */
};

static void names_beside(struct dancer *d, const char *temp)
{
	const char *slash = strrchr(d->path, '/');

	path_print(d->temp, "%.*s/%s", (int)(slash - d->path), d->path, temp);
	path_print(d->backup, "%s~", d->path);
}

/* Opens, writes all of it, and closes. */
static int write_file(struct dancer *d, const char *path, int flags)
{
	int fd = step_open(d->m, d->proc, path, flags);

	if (fd < 0)
		return fd;
	step_write(d->m, fd, d->data, d->len, 0);
	return step_close(d->m, fd, d->how);
}

/* ---- A ---- */

static int truncate_sync(struct dancer *d)
{
	int fd = step_open(d->m, d->proc, d->path, O_WRONLY | O_CREAT | O_TRUNC);
	size_t half = d->len / 2;
	int rc, synced;

	if (fd < 0)
		return fd;
	step_write(d->m, fd, d->data, half, 0);
	step_write(d->m, fd, (const char *)d->data + half, d->len - half, half);
	synced = step_fsync(d->m, fd);
	rc = step_close(d->m, fd, d->how);
	return synced ? synced : rc;
}

static int in_place(struct dancer *d, bool empty_first)
{
	int fd = step_open(d->m, d->proc, d->path, O_RDWR | O_CREAT);

	if (fd < 0)
		return fd;
	if (empty_first)
		step_ftruncate(d->m, fd, 0);
	step_write(d->m, fd, d->data, d->len, 0);
	if (!empty_first)
		step_ftruncate(d->m, fd, d->len);
	return step_close(d->m, fd, d->how);
}

static int append(struct dancer *d)
{
	return write_file(d, d->path, O_WRONLY | O_CREAT | O_APPEND);
}

static int shell(struct dancer *d)
{
	int fd = step_open(d->m, d->proc, d->path, O_WRONLY | O_CREAT | O_TRUNC);
	size_t half = d->len / 2;

	if (fd < 0)
		return fd;
	step_child(d->m, fd);
	step_write(d->m, fd, d->data, half, 0);
	step_child(d->m, fd);
	step_write(d->m, fd, (const char *)d->data + half, d->len - half, half);
	step_child(d->m, fd);
	return step_close(d->m, fd, CLOSE_OWN);
}

static int mapped(struct dancer *d)
{
	int fd = step_open(d->m, d->proc, d->path, O_RDWR | O_CREAT);

	return fd < 0 ? fd : step_close_mapped(d->m, fd, d->data, d->len);
}

static int unfinished(struct dancer *d, enum proc_end how)
{
	int proc = d->proc ? d->proc : 1; /* 0 has to go on */
	int fd = step_open(d->m, proc, d->path, O_WRONLY | O_CREAT | O_TRUNC);

	if (fd < 0)
		return fd;
	step_write(d->m, fd, d->data, d->len, 0);
	step_end(d->m, proc, how);
	return 0;
}

static int touch(struct dancer *d)
{
	int fd = step_open(d->m, d->proc, d->path, O_WRONLY | (d->len % 2 ? O_TRUNC : 0));

	return fd < 0 ? fd : step_close(d->m, fd, d->how);
}

/* ---- B ---- */

static int by_temp(struct dancer *d, bool open)
{
	int rc, fd;

	names_beside(d, open ? ".goutputstream-A1B2C3" : ".spec.yml.Xy12Zw");
	fd = step_open(d->m, d->proc, d->temp, O_RDWR | O_CREAT | O_EXCL);
	if (fd < 0)
		return fd;
	step_write(d->m, fd, d->data, d->len, 0);
	if (!open)
		step_close(d->m, fd, d->how);
	rc = step_rename(d->m, d->proc, d->temp, d->path);
	if (open)
		step_close(d->m, fd, d->how);
	if (rc)
		step_unlink(d->m, d->proc, d->temp);
	return rc;
}

/* ---- C ---- */

static int away(struct dancer *d)
{
	int rc;

	names_beside(d, "");
	rc = step_rename(d->m, d->proc, d->path, d->backup);
	if (rc)
		return rc;
	rc = write_file(d, d->path, O_WRONLY | O_CREAT);
	if (rc)
		step_rename(d->m, d->proc, d->backup, d->path);
	else
		step_unlink(d->m, d->proc, d->backup);
	return rc;
}

static int anew(struct dancer *d)
{
	step_unlink(d->m, d->proc, d->path);
	return write_file(d, d->path, O_WRONLY | O_CREAT | O_EXCL);
}

/* ---- D ---- */

static int with_link(struct dancer *d)
{
	int rc;

	names_beside(d, "");
	rc = step_link(d->m, d->proc, d->path, d->backup);
	if (rc)
		return rc;
	rc = by_temp(d, false);
	step_unlink(d->m, d->proc, d->backup);
	return rc;
}

static int with_copy(struct dancer *d)
{
	struct dancer copy = *d;
	int rc;

	names_beside(d, "");
	copy.data = "a backup\n";
	copy.len = strlen(copy.data);
	rc = write_file(&copy, d->backup, O_WRONLY | O_CREAT | O_EXCL);
	if (rc)
		return rc;
	rc = write_file(d, d->path, O_WRONLY | O_CREAT | O_TRUNC);
	step_unlink(d->m, d->proc, d->backup);
	return rc;
}

int dance(struct model *m, enum dance way, int proc, const char *path, const void *data, size_t len,
	  enum step_close how)
{
	struct dancer d = {
		.m = m, .proc = proc, .path = path, .data = data, .len = len, .how = how};

	switch (way) {
	case DANCE_TRUNCATE_SYNC:
		return truncate_sync(&d);
	case DANCE_IN_PLACE:
	case DANCE_EMPTY_FIRST:
		return in_place(&d, way == DANCE_EMPTY_FIRST);
	case DANCE_TEMP:
	case DANCE_TEMP_OPEN:
		return by_temp(&d, way == DANCE_TEMP_OPEN);
	case DANCE_AWAY:
		return away(&d);
	case DANCE_ANEW:
		return anew(&d);
	case DANCE_LINK:
		return with_link(&d);
	case DANCE_COPY:
		return with_copy(&d);
	case DANCE_APPEND:
		return append(&d);
	case DANCE_SHELL:
		return shell(&d);
	case DANCE_MAPPED:
		return mapped(&d);
	case DANCE_KILLED:
		return unfinished(&d, PROC_KILLED);
	case DANCE_EXIT:
		return unfinished(&d, PROC_EXITS);
	case DANCE_TOUCH:
		return touch(&d);
	default:
		return write_file(&d, path, O_WRONLY | O_CREAT | O_TRUNC);
	}
}
