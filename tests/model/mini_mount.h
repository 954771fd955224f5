/*
 * mini_mount - the file system put together in this process, as fs/mount.c does it for a real
 * mount, over the service in memory and a directory of the disk. Ends the program when it can't be.
 */
#ifndef MLENVFS_TESTS_MINI_MOUNT_H
#define MLENVFS_TESTS_MINI_MOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/fsys.h"
#include "tests/model/mini.h"
#include "tests/model/service.h"

struct mini_mount {
	struct fsys fs;
	struct mini *mini;
	int kept_dir;
	int journal_dir;
};

/* The directory is where drafts and edits lie; it outlives the mount, as the service does. */
void mini_mount(struct mini_mount *m, struct service *service, const char *dir);

/*
 * Takes it down. As a crash: nothing is published or put away on the way out. Returns what was
 * wrong; NULL when nothing was. In a buffer of the caller's.
 */
const char *mini_unmount(struct mini_mount *m, bool crash, char *problem, size_t size);

/* Lets the clock of everything that is forgotten after a while go on by that. */
void mini_mount_pass(int64_t ns);

#endif
