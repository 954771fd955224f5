/*
 * upcalls - how often the kernel asked, by kind of request, and how often it was told something:
 * what the kernel's caches are worth can be counted exactly. `mlenvfs status --json` shows it.
 *
 * Any thread; nothing blocks.
 */
#ifndef MLENVFS_FS_UPCALLS_H
#define MLENVFS_FS_UPCALLS_H

#include <stdatomic.h>

/* X(name in C, name for people), requests first. */
#define UPCALLS(X)                    \
	X(LOOKUP, "lookup")           \
	X(FORGET, "forget")           \
	X(GETATTR, "getattr")         \
	X(SETATTR, "setattr")         \
	X(READLINK, "readlink")       \
	X(MKNOD, "mknod")             \
	X(MKDIR, "mkdir")             \
	X(UNLINK, "unlink")           \
	X(RMDIR, "rmdir")             \
	X(SYMLINK, "symlink")         \
	X(RENAME, "rename")           \
	X(LINK, "link")               \
	X(OPEN, "open")               \
	X(READ, "read")               \
	X(WRITE, "write")             \
	X(FLUSH, "flush")             \
	X(FSYNC, "fsync")             \
	X(FSYNCDIR, "fsyncdir")       \
	X(RELEASE, "release")         \
	X(OPENDIR, "opendir")         \
	X(READDIR, "readdir")         \
	X(READDIRPLUS, "readdirplus") \
	X(RELEASEDIR, "releasedir")   \
	X(STATFS, "statfs")           \
	X(SETXATTR, "setxattr")       \
	X(GETXATTR, "getxattr")       \
	X(LISTXATTR, "listxattr")     \
	X(REMOVEXATTR, "removexattr") \
	X(CREATE, "create")           \
	X(FALLOCATE, "fallocate")     \
	X(INVAL_INODE, "inval_inode") \
	X(INVAL_ENTRY, "inval_entry") \
	X(STORE, "store")

#define UPCALL_ENUM(name, text) UPCALL_##name,
enum upcall { UPCALLS(UPCALL_ENUM) UPCALL_KINDS };
#undef UPCALL_ENUM

/* From here on it is we who tell the kernel. */
enum { UPCALL_FIRST_NOTICE = UPCALL_INVAL_INODE };

/* Start with all zero. */
struct upcalls {
	atomic_ullong count[UPCALL_KINDS];
};

static inline void upcalls_add(struct upcalls *u, enum upcall kind)
{
	if (u)
		atomic_fetch_add_explicit(&u->count[kind], 1, memory_order_relaxed);
}

/* The name of a kind, as in the table above. */
const char *upcall_name(enum upcall kind);

#endif
