/*
 * mini_int - what the parts of the small kernel share.
 */
#ifndef MLENVFS_TESTS_MINI_INT_H
#define MLENVFS_TESTS_MINI_INT_H

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>

#include "fs/ops.h"
#include "tests/model/mini.h"

enum { MINI_NAME_MAX = 256, MINI_INODES = 512, MINI_PROBLEM = 512, MINI_LINKS_MAX = 40 };

enum reply_kind {
	REPLY_NONE, /* not answered yet */
	REPLY_ERR,  /* also success without content */
	REPLY_FORGOTTEN,
	REPLY_ENTRY,
	REPLY_CREATE,
	REPLY_ATTR,
	REPLY_OPEN,
	REPLY_DATA,
	REPLY_COUNT, /* write, xattr sizes, lseek */
	REPLY_OTHER,
};

/* One request, kept until the end, so that a second answer is seen however late it comes. */
struct fuse_req {
	struct mini *m;
	struct fuse_ctx ctx;
	const char *what;
	struct fuse_req *next;
	/* protected by the kernel's lock */
	int replies;
	enum reply_kind kind;
	int err; /* positive, as fuse_reply_err() has it */
	struct fuse_entry_param entry;
	struct stat attr;
	struct fuse_file_info fi;
	size_t count;
	char *data;
	size_t len;
};

/* An inode that the file system told of. */
struct mini_inode {
	fuse_ino_t ino;
	mode_t type;
	uint64_t lookups;
	unsigned int opens;
	struct mini_inode *next;
};

/* The directories that a path leads along. */
enum { MINI_DEPTH = 64, MINI_PATH = 1024 };
struct mini_trail {
	fuse_ino_t dirs[MINI_DEPTH];
	size_t depth;
};

struct mini {
	struct fsys *fs;
	struct mini_inode *inodes[MINI_INODES];
	struct mini_file *files; /* all that are open */
	char last[MINI_PATH];    /* the directory of the last path, "": none */
	struct mini_trail trail; /* to that */
	pthread_mutex_t lock;
	pthread_cond_t replied;
	/* protected by lock */
	struct fuse_req *requests;
	char problem[MINI_PROBLEM];
};

struct mini_file {
	struct mini *m;
	struct mini_inode *inode;
	struct fuse_file_info fi;
	int flags;
	unsigned int descriptors;
	struct mini_file *next, **link;
};

/* Where a path leads: the directory, the last part, and what is there. */
struct mini_place {
	fuse_ino_t dir;
	char name[MINI_NAME_MAX];
	struct mini_inode *inode; /* NULL: nothing is there */
};

/* Notes a problem; the first one is kept. */
void mini_complain(struct mini *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- requests (mini_reply.c) ---- */

struct fuse_req *mini_request(struct mini *m, pid_t by, const char *what);

/* Waits for the answer: 0 or a negative errno. kind is what success looks like. */
int mini_wait(struct fuse_req *req, enum reply_kind kind);

/* ---- inodes and paths (mini_path.c) ---- */

/* What an answer says is there, with its lookup counted. NULL after a complaint. */
struct mini_inode *mini_told(struct mini *m, const struct fuse_entry_param *entry,
			     const char *name);

/* Follows a path. 0 also when the last part is not there (place->inode is NULL). */
int mini_walk(struct mini *m, pid_t by, const char *path, bool follow, struct mini_place *place);

/* The same for what has to be there. */
int mini_find(struct mini *m, pid_t by, const char *path, bool follow, struct mini_inode **out);

void mini_release_all(struct mini *m);

#endif
