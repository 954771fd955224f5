/*
 * tree - a plain file system in memory: what a local directory is expected to hold. Paths are
 * relative to a directory, "" being itself; no symbolic link is followed.
 *
 * Functions return 0 or the negative errno of the system call of their name. They end the program
 * when there is no memory.
 */
#ifndef MLENVFS_TESTS_TREE_H
#define MLENVFS_TESTS_TREE_H

#include <stdbool.h>
#include <stddef.h>

enum { TREE_NAME = 256, TREE_PATH = 1024 };

/* Prints a path; ends the program when it is too long. Returns out. */
const char *path_print(char out[TREE_PATH], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The bytes of a file; shared by its links and by whoever has it open. */
struct bytes {
	unsigned int refs;
	char *data;
	size_t len;
};

struct bytes *bytes_new(const void *data, size_t len);
struct bytes *bytes_ref(struct bytes *b);
void bytes_unref(struct bytes *b); /* NULL is allowed */
bool bytes_equal(const struct bytes *b, const void *data, size_t len);
void bytes_write(struct bytes *b, const void *data, size_t len, size_t off);
void bytes_resize(struct bytes *b, size_t len);

enum tree_kind {
	TREE_DIR,
	TREE_FILE,
	TREE_LINK,
	TREE_DERIVED, /* something of which only the name counts */
};

struct tree {
	char name[TREE_NAME];
	enum tree_kind kind;
	struct bytes *bytes; /* a file's */
	struct bytes *other; /* what it may hold as well; NULL: nothing */
	char *target;        /* a link's */
	struct tree *first;  /* a directory's */
	bool waiting;        /* a draft that is published when it is quiet */
	struct tree *next;
};

struct tree *tree_new(const char *name, enum tree_kind kind);
void tree_free(struct tree *t); /* NULL is allowed */

/* What is at the path, or NULL. */
struct tree *tree_at(struct tree *dir, const char *path);

/* The directory that path lies in, with its last part in *name; NULL with *rc set. */
struct tree *tree_parent(struct tree *dir, const char *path, const char **name, int *rc);

/* A name in a directory. */
struct tree *tree_child(struct tree *dir, const char *name);
void tree_add(struct tree *dir, struct tree *child);
struct tree *tree_take(struct tree *dir, const char *name); /* takes it out; NULL: not there */

int tree_mkdir(struct tree *dir, const char *path);
int tree_unlink(struct tree *dir, const char *path);
int tree_rmdir(struct tree *dir, const char *path);
int tree_symlink(struct tree *dir, const char *target, const char *path);

/* Between two directories (or one); what rename(2) checks is checked. */
int tree_rename(struct tree *from, const char *from_path, struct tree *to, const char *to_path);

/* The file at path, made when it is not there and create says so. NULL with *rc set. */
struct tree *tree_open(struct tree *dir, const char *path, bool create, bool exclusive, int *rc);

/* The file at path with these bytes (a reference is taken), its directories made. */
void tree_put(struct tree *dir, const char *path, struct bytes *bytes);

/* The directories that lead to path, as far as they are not there. */
void tree_make_parents(struct tree *dir, const char *path);

/* Puts what is in from, copied, over what is in to; files are shared. */
void tree_overlay(struct tree *to, const struct tree *from);

/* Calls tell() for every file and link below dir, with its path. */
typedef void tree_tell_fn(void *arg, const char *path, struct tree *t);
void tree_each(struct tree *dir, tree_tell_fn *tell, void *arg);

#endif
