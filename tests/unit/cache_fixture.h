/*
 * cache_fixture - a directory of its own for each test of what is kept on the disk, and means to
 * damage what lies in it.
 */
#ifndef MLENVFS_TESTS_CACHE_FIXTURE_H
#define MLENVFS_TESTS_CACHE_FIXTURE_H

#include <stddef.h>
#include <sys/stat.h>

enum { CACHE_PATH_MAX = 64 };

/* Makes a private directory, path gets its name; a descriptor. Ends the test when it can't. */
int cache_dir_make(char path[CACHE_PATH_MAX]);

/* Removes it with all that is in it. */
void cache_dir_remove(const char *path);

/* Calls fn for every file and link below path, directories aside. */
typedef void cache_file_fn(void *arg, const char *path, const struct stat *st);
void cache_each(const char *path, cache_file_fn *fn, void *arg);

/* The number of files and links below DIR/SUB. */
size_t cache_count(const char *dir, const char *sub);

/* Changes one bit of a file. */
void cache_flip(const char *path, long at);

#endif
