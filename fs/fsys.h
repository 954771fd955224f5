/*
 * fsys - one mounted file system: what the operations need at hand.
 */
#ifndef MLENVFS_FS_FSYS_H
#define MLENVFS_FS_FSYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct catalog;
struct handles;
struct node_table;
struct notify;

/* How long the kernel may keep what cannot change. */
#define FSYS_FOREVER_S 86400.0

struct fsys {
	struct catalog *catalog;
	struct node_table *nodes;
	struct handles *handles;
	struct notify *notify;
	uid_t uid; /* who owns what is shown */
	gid_t gid;
	bool anonymous;        /* show anonymous environments */
	double refresh_s;      /* seconds that lists are fresh */
	int64_t timeout;       /* ns that one file operation may take */
	int64_t started;       /* clock_wall() at the mount; the root's time */
	const char *local_dir; /* a directory on the disk whose free space statfs shows */
	const char *about;     /* JSON members about the mount, for user.mlenvfs.status */
};

#endif
