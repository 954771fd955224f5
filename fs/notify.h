/*
 * notify - tells the kernel what has changed behind its caches, and remembers when that was
 * noticed.
 *
 * The catalog reports changed lists on its workers; they are queued here and pushed by a thread of
 * their own, because an invalidation waits for directory locks that the very request which
 * noticed the change may hold. Only what the kernel knows is pushed.
 */
#ifndef MLENVFS_FS_NOTIFY_H
#define MLENVFS_FS_NOTIFY_H

#include <stdint.h>

#include "cache/catalog.h"
#include "fs/node.h"

struct fuse_session;
struct notify;
struct store;

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
