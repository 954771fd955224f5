/*
 * steps - calls, each made for real and in the model, with the answers compared. Paths are relative
 * to the workspace. After a failure (model_failed()) nothing is to be relied on any more.
 */
#ifndef MLENVFS_TESTS_STEPS_H
#define MLENVFS_TESTS_STEPS_H

#include "tests/model/model.h"

/* The path within the mount. Returns out. */
const char *step_path(struct model *m, const char *path, char out[TREE_PATH]);

/* Compares what a call said with what it should have said. */
void step_expect(struct model *m, const char *what, const char *path, long got, long expected);

/* The same where two answers are right. */
void step_expect_either(struct model *m, const char *what, const char *path, long got, long one,
			long other);

/* ---- where a path leads (steps_place.c) ---- */

struct place {
	struct menv *env;
	struct mversion *v;  /* the published version that it lies in; NULL: a draft */
	char rel[TREE_PATH]; /* within that, or within the environment's directory */
	bool asset;          /* part of v's definition */
	struct tree *view;   /* of v, or the environment's own */
	struct tree *t;      /* what is seen there; NULL: nothing */
};

void place_at(struct model *m, const char *path, struct place *out);
void place_clear(struct place *p);

/* The tree that what is not an asset lies in, or is to lie in: its directories are made. */
struct tree *place_tree(struct place *p);

/* What is at an asset's name leaves it: the file's bytes (a reference). */
struct bytes *place_leave(struct place *p);

/* ---- names (steps_name.c) ---- */

int step_mkdir(struct model *m, int proc, const char *path);
int step_rmdir(struct model *m, int proc, const char *path);
int step_unlink(struct model *m, int proc, const char *path);
int step_symlink(struct model *m, int proc, const char *target, const char *path);
int step_link(struct model *m, int proc, const char *from, const char *to);
int step_rename(struct model *m, int proc, const char *from, const char *to);
int step_truncate(struct model *m, int proc, const char *path, size_t size);

int step_fsyncdir(struct model *m, int proc, const char *path);

/* utimens and chmod: mtime in ns, mode of the permissions. */
int step_attributes(struct model *m, int proc, const char *path, int64_t mtime, mode_t mode);

/* ---- open files (steps_file.c, steps_close.c) ---- */

/* Whether a file that is opened with these flags can be written to. */
bool step_for_writing(int flags);

/* Something was written to a file. */
void step_wrote(struct model *m, struct bytes *bytes);

/* How a descriptor is closed. */
enum step_close { CLOSE_OWN, CLOSE_THREAD, CLOSES };

/* A number for the calls below, or a negative errno. */
int step_open(struct model *m, int proc, const char *path, int flags);
int step_write(struct model *m, int fd, const void *data, size_t len, size_t off);
int step_ftruncate(struct model *m, int fd, size_t size);
int step_fsync(struct model *m, int fd);
int step_close(struct model *m, int fd, enum step_close how);

/* A child that inherited the descriptor closes it. */
void step_child(struct model *m, int fd);

/* Closes it, then writes by a mapping. */
int step_close_mapped(struct model *m, int fd, const void *data, size_t len);

/* The file system dies: nothing that is open is closed. */
void step_lose_files(struct model *m);

/* A process ends; what it had open is closed. */
void step_end(struct model *m, int proc, enum proc_end how);

/* ---- versions (steps_service.c) ---- */

/* mv env/.draft env/version */
void step_publish(struct model *m, int proc, struct menv *env, const char *draft,
		  const char *version);

/* setfattr -n user.tag.KEY -v VALUE (NULL: -x), or user.description where key is NULL. */
void step_tag(struct model *m, int proc, struct menv *env, struct mversion *v, const char *key,
	      const char *value);

void step_rm_version(struct model *m, int proc, struct menv *env, struct mversion *v);
void step_restore_version(struct model *m, int proc, struct menv *env, struct mversion *v);
void step_purge_version(struct model *m, int proc, struct menv *env, struct mversion *v);
void step_rm_env(struct model *m, int proc, struct menv *env);
void step_restore_env(struct model *m, int proc, struct menv *env);

/* Somebody else does something. */
void step_others_put(struct model *m, struct menv *env, int image);
void step_others_tag(struct model *m, struct menv *env, struct mversion *v, const char *key,
		     const char *value);
void step_fault(struct model *m, enum service_fault fault);
void step_remount(struct model *m, bool crash);

#endif
