/*
 * notify - tells the kernel what has changed behind its caches, and remembers when that was
 * noticed.
 *
 * The catalog reports changed lists on its workers. Names and files are queued here and pushed by a
 * thread of their own, because their invalidation waits for locks that the very request which
 * noticed the change may hold. What is cached of a directory's names (listed.h) is dropped at once,
 * before the answer that made or noticed the change: that waits for nothing but a page that is
 * being read from the cache. Only what the kernel knows is pushed.
 */
#ifndef MLENVFS_FS_NOTIFY_H
#define MLENVFS_FS_NOTIFY_H

#include <stdint.h>

#include "cache/catalog.h"
#include "fs/node.h"

struct fuse_session;
struct notify;
struct store;
struct upcalls;

struct notify *notify_new(struct node_table *nodes);

/*
 * What was noticed is remembered there, and what earlier mounts noticed is known from there. store
 * may be NULL; borrowed. Call before anything is noticed.
 */
void notify_remember(struct notify *n, struct store *store);

/* Starts the thread; before that, changes are only noted. 0 or a negative errno. */
int notify_start(struct notify *n, struct fuse_session *se);

/*
 * Nothing is pushed between these two; they nest, and may come from any number of threads. A push
 * that waits for the lock of a directory can't be ended, not even by the end of this process: when
 * that is killed meanwhile, the request that holds the lock would wait for ever.
 */
void notify_hold(struct notify *n);
void notify_release(struct notify *n);

/* What the kernel cached of the names in a directory is wrong, whatever it is. Any thread. */
void notify_listing(struct notify *n, uint64_t ino);

/*
 * The kernel cached where a symlink leads, and it leads elsewhere now. Waits for a readlink of it
 * that is being answered. Any thread.
 */
void notify_link(struct notify *n, uint64_t ino);

/* What is cached of a directory is wrong from clock_mono() time due on. */
void notify_listing_at(struct notify *n, uint64_t ino, int64_t due);

/* The same at once of the directory top and all below it. */
void notify_listings_below(struct notify *n, struct node *top);

/*
 * The whole content of a small file that the kernel has just been told of: reading it needs no
 * request then. Waits for a page of it that is being read; a few may at once, the others' files are
 * read when they are wanted. Any thread.
 */
void notify_store(struct notify *n, uint64_t ino, const char *data, size_t size);

/* What the kernel cached of a file is wrong; from the thread. Any thread. */
void notify_file(struct notify *n, uint64_t ino);

/* Where what is pushed is counted; before notify_start(). NULL: nowhere. */
void notify_count(struct notify *n, struct upcalls *counts);

/* Ends the thread; nothing is pushed any more. */
void notify_stop(struct notify *n);
void notify_free(struct notify *n); /* NULL is allowed */

/* A catalog_changed_fn; arg is the struct notify. Any thread. */
void notify_changed(void *arg, enum catalog_event event, struct scope *scope, const char *env,
		    const void *before, const void *after);

/*
 * The attributes of a file have changed: the kernel asks for them again, from when this returns.
 * Waits for nothing, so that it may be called while requests are answered. Any thread.
 */
void notify_attributes(struct notify *n, uint64_t ino);

/* The build.log of a version has (struct builds_conf.changed); arg is the struct notify. */
void notify_build(void *arg, const struct scope *scope, const char *env, const char *version);

/*
 * Makes the kernel ask again for everything that comes from a list: for a refresh that the user
 * asked for. Any thread.
 */
void notify_expire(struct notify *n);

/*
 * When the content of the version directory with that inode number was seen to change under the
 * same lastModifiedAt: clock_wall() time, 0 when never. Any thread.
 */
int64_t notify_noticed(struct notify *n, uint64_t ino);

#endif
