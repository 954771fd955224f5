#include "emulator/build_dir.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/log.h"

enum { OPEN_DIRS = 16 };

static int join(char *out, size_t size, const char *dir, const char *name)
{
	return snprintf(out, size, "%s/%s", dir, name) < (int)size ? 0 : -ENAMETOOLONG;
}

int build_dir_paths(const char *store, const char *name, struct build_dir *out, struct err *e)
{
	int ret = 0;

	*out = (struct build_dir){0};
	if (snprintf(out->base, sizeof(out->base), "%s.builds", store) >= (int)sizeof(out->base))
		ret = -ENAMETOOLONG;
	if (!ret)
		ret = join(out->path, sizeof(out->path), out->base, name);
	if (!ret)
		ret = join(out->context, sizeof(out->context), out->path, "context");
	if (!ret)
		ret = join(out->dockerfile, sizeof(out->dockerfile), out->path, "Dockerfile");
	if (!ret)
		ret = join(out->tmp, sizeof(out->tmp), out->path, "tmp");
	if (!ret)
		ret = join(out->spool, sizeof(out->spool), out->path, "log");
	return ret ? err_set(e, ret, "%s.builds: %s", store, strerror(-ret)) : 0;
}

static int make(const char *path, struct err *e)
{
	return mkdir(path, 0700) ? err_set(e, -errno, "%s: %s", path, strerror(errno)) : 0;
}

int build_dir_make(const struct build_dir *d, struct err *e)
{
	int ret = make(d->base, e);

	if (!ret || ret == -EEXIST)
		ret = make(d->path, e);
	if (!ret)
		ret = make(d->context, e);
	return ret ? ret : make(d->tmp, e);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	if (remove(path) && errno != ENOENT)
		log_warn("op=build path=%s error=\"%s\"", path, strerror(errno));
	return 0;
}

static void remove_tree(const char *path)
{
	if (nftw(path, remove_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) && errno != ENOENT)
		log_warn("op=build path=%s error=\"%s\"", path, strerror(errno));
}

void build_dir_remove(const struct build_dir *d)
{
	remove_tree(d->path);
}

void build_dir_tidy(const char *store)
{
	char base[BUILD_DIR_PATH];

	if (snprintf(base, sizeof(base), "%s.builds", store) < (int)sizeof(base) && rmdir(base) &&
	    errno != ENOENT)
		log_warn("op=build path=%s error=\"%s\"", base, strerror(errno));
}

void build_dir_sweep(const char *store)
{
	char base[BUILD_DIR_PATH];

	if (snprintf(base, sizeof(base), "%s.builds", store) < (int)sizeof(base))
		remove_tree(base);
}
