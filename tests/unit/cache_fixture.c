#include "tests/unit/cache_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 512 };

int cache_dir_make(char path[CACHE_PATH_MAX])
{
	int fd;

	snprintf(path, CACHE_PATH_MAX, "/tmp/mlenvfs-cache-XXXXXX");
	assert_non_null(mkdtemp(path));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void cache_dir_remove(const char *path)
{
	assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void cache_each(const char *path, cache_file_fn *fn, void *arg)
{
	DIR *dir = opendir(path);
	struct dirent *d;

	assert_non_null(dir);
	while ((d = readdir(dir))) {
		char below[PATH_SIZE];
		struct stat st;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, d->d_name);
		if (lstat(below, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			cache_each(below, fn, arg);
		else
			fn(arg, below, &st);
	}
	closedir(dir);
}

static void count_one(void *arg, const char *path, const struct stat *st)
{
	size_t *n = arg;

	(void)path;
	(void)st;
	(*n)++;
}

size_t cache_count(const char *dir, const char *sub)
{
	char path[PATH_SIZE];
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, sub);
	cache_each(path, count_one, &n);
	return n;
}

void cache_flip(const char *path, long at)
{
	FILE *f = fopen(path, "r+b");
	int c;

	assert_non_null(f);
	assert_int_equal(fseek(f, at, SEEK_SET), 0);
	c = getc(f);
	assert_int_not_equal(c, EOF);
	assert_int_equal(fseek(f, at, SEEK_SET), 0);
	assert_int_not_equal(putc(c ^ 1, f), EOF);
	assert_int_equal(fclose(f), 0);
}
