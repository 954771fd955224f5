/*
 * node - the inode table: which inode numbers the kernel knows and what they stand for.
 *
 * An inode number is the first 64 bits of SHA-256(parent's number, kind, name): the same asset has
 * the same number in every mount. Where two different ones meet, the later gets the next free
 * number. A node lives while the kernel remembers it (lookups), while it has children in the table,
 * and while somebody holds a reference.
 *
 * Locks: the table has one mutex, held for a few instructions and never while anything else is
 * called. It protects the table's links and the fields named below; all other fields are fixed from
 * node_intern() on. Lock order in the program: node table -> nothing.
 */
#ifndef MLENVFS_FS_NODE_H
#define MLENVFS_FS_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "client/asset.h"
#include "fs/ctxtree.h"

enum node_kind {
	NODE_ROOT,
	NODE_SCOPE,      /* <workspace>/ or @<registry>/ */
	NODE_ARCHIVE,    /* .archived/ */
	NODE_ENV,        /* <environment>/ */
	NODE_LATEST,     /* latest -> 3 */
	NODE_VERSION,    /* 3/ */
	NODE_SPEC,       /* spec.yml */
	NODE_CONDA,      /* conda.yml */
	NODE_DOCKERFILE, /* Dockerfile: derived, or a symlink into context/ */
	NODE_BUILD_LOG,  /* build.log */
	NODE_CONTEXT,    /* context/ and the directories and files below it */
	NODE_LOCAL,      /* a file or directory of the disk: drafts, scratch, edits renamed in */
};

struct node_table;

/* Sizes of a version's rendered files, kept with the record they were rendered from. */
struct node_sizes {
	const struct version *of; /* compared only */
	int64_t spec;             /* -1: not known yet */
	int64_t conda;
	int64_t dockerfile;
};

/* What a version shows that was set on this machine (shown.h), kept with the record it was read
 * for. */
struct node_shown_file {
	bool kept;
	int64_t size; /* 0: no text is kept */
	struct timespec mtime;
	mode_t mode;
};
struct node_shown {
	const struct version *of; /* compared only */
	uint64_t generation;
	bool any;
	bool unlisted;
	struct node_shown_file spec;
	struct node_shown_file conda;
};

struct node {
	uint64_t ino;
	enum node_kind kind;
	bool archived; /* lies below .archived */
	uint32_t ctx_index;
	struct node *parent; /* NULL for the root; the table keeps it alive */
	struct scope *scope; /* NULL for the root */
	char *name; /* the service's own name of a scope, environment or version; else "" */
	struct ctxtree *ctx; /* NODE_CONTEXT below the context directory itself */

	/* protected by the table's lock; read with the node_get_* functions */
	struct env *env;
	char *local; /* its path below the state directory; another kind has one while it is edited
		      */
	char *disk;  /* what tells that file from all others (local.h), of another kind */
	bool edited; /* had one: the kernel may have cached other content */
	struct node *forward;    /* a draft's directory that became this version's */
	struct version *version; /* NODE_VERSION: the newest record seen */
	struct ctxtree *tree;    /* NODE_VERSION: its context, once it was looked into */
	bool listed;             /* the kernel may have cached the names in it */
	uint64_t relisted;       /* moves on whenever such a cache became wrong */
	int64_t expires;         /* clock_mono() time at which it is dropped; 0: it is not */
	bool stored;             /* NODE_VERSION: the kernel was given the files of this record */
	int64_t touched; /* clock_mono() time of the last change below it that was made here */
	struct node_sizes sizes;
	struct node_shown *shown; /* NODE_VERSION: NULL until it was read */
	uint64_t lookups;
	uint64_t holds; /* children and references */
	struct node *next;
	struct node *next_local, **local_link; /* all that have a path */
	struct node *next_alias, **alias_link; /* those of another kind */
};

/* What node_intern() makes a node from; pointers are borrowed and copied or referenced. */
struct node_fields {
	enum node_kind kind;
	bool archived;
	uint32_t ctx_index;
	struct scope *scope;
	const char *name;  /* service's name for scopes, environments, versions */
	const char *label; /* file name: what the inode number is made from; NULL: name */
	struct env *env;
	struct version *version;
	struct ctxtree *ctx;
	const char *local;
};

struct node_table *node_table_new(void);
void node_table_free(struct node_table *t);

/* The root; number 1 (FUSE_ROOT_ID). Borrowed. */
struct node *node_root(struct node_table *t);

/*
 * The node of that number, or NULL; what became of it where it was forwarded. Borrowed: valid while
 * the kernel knows it, as during a request.
 */
struct node *node_get(struct node_table *t, uint64_t ino);

/* The same with a reference of its own, for users outside a request; end with node_put(). */
struct node *node_hold(struct node_table *t, uint64_t ino);
void node_put(struct node_table *t, struct node *n);

/*
 * Finds or makes the child of parent and adds one lookup to it. A node that is there gets the
 * newer env and version records of fields. NULL when memory ran out.
 */
struct node *node_intern(struct node_table *t, struct node *parent, const struct node_fields *f);

/* The kernel forgot it n times. */
void node_forget(struct node_table *t, uint64_t ino, uint64_t n);

/* The number that such a child has (collisions aside), whether it is in the table or not. */
uint64_t node_number(uint64_t parent, enum node_kind kind, const char *label);

/* References to what changes; NULL when there is none. The caller releases them. */
struct version *node_get_version(struct node_table *t, struct node *n);
struct env *node_get_env(struct node_table *t, struct node *n);
struct ctxtree *node_get_tree(struct node_table *t, struct node *n);

/* The path of what lies on the disk, to be freed; NULL when n does not, or when memory ran out. */
char *node_get_local(struct node_table *t, struct node *n);

/* Whether n lies on the disk: a NODE_LOCAL, or a published file while it is edited. */
bool node_is_local(struct node_table *t, struct node *n);

/* Whether the file of the disk that number tells (local.h) is n's. */
bool node_is_file(struct node_table *t, struct node *n, const char *number);

/* Whether the kernel may have cached content of n that it does not have any more. */
bool node_was_edited(struct node_table *t, struct node *n);

/*
 * The published file n is edited: from now on the file of the disk at path, told by number
 * (local.h), is its content, and is found under n's own inode number wherever it is moved. 0 or
 * -ENOMEM.
 */
int node_set_local(struct node_table *t, struct node *n, const char *path, const char *number);

/* The file of the disk at path is gone: what was its published file is that again. */
void node_clear_local(struct node_table *t, const char *path);

/* Requests for the inode of the draft's directory `from` are for `to` from now on. */
void node_set_forward(struct node_table *t, struct node *from, struct node *to);

/* What lay at or below the path `from` lies at or below `to` now. */
void node_moved_local(struct node_table *t, const char *from, const char *to);

void node_set_version(struct node_table *t, struct node *n, struct version *v);
void node_set_env(struct node_table *t, struct node *n, struct env *e);
void node_set_tree(struct node_table *t, struct node *n, struct ctxtree *tree);

struct node_sizes node_get_sizes(struct node_table *t, struct node *n);
void node_set_sizes(struct node_table *t, struct node *n, const struct node_sizes *s);

struct node_shown node_get_shown(struct node_table *t, struct node *n);
void node_set_shown(struct node_table *t, struct node *n, const struct node_shown *s);

/* ---- directories whose names the kernel may have cached (listed.h) ----
 * By the number that the kernel uses, forwarded or not; nothing for numbers that are not there. */

/* Begins to read the names of ino: how often what was cached of them became wrong so far. */
uint64_t node_list(struct node_table *t, uint64_t ino);

/* What may be cached is wrong. False when nothing can be. */
bool node_unlist(struct node_table *t, uint64_t ino);

/*
 * The same of top and of all directories below it; the numbers of those that may be cached go to
 * *out, to be freed. Returns how many, or -ENOMEM.
 */
ssize_t node_unlist_below(struct node_table *t, struct node *top, uint64_t **out);

/* How often it became wrong. */
uint64_t node_relisted(struct node_table *t, uint64_t ino);

/* It is to be dropped at due. True when no earlier time was set that nobody has come back to. */
bool node_set_expiry(struct node_table *t, uint64_t ino, int64_t due);

/* Its time has come: 0, and then there is none any more, or the later one that was set since. */
int64_t node_expire(struct node_table *t, uint64_t ino, int64_t now);

/* The kernel is given the files of a NODE_VERSION's record. False when it was before. */
bool node_set_stored(struct node_table *t, struct node *n);

/* A change is made here at or below n; when the last one was, 0 when there was none. */
int64_t node_touch(struct node_table *t, struct node *n, int64_t now);
int64_t node_touched(struct node_table *t, struct node *n);

uint64_t node_count(struct node_table *t);

/*
 * The numbers of all nodes whose content or attributes come from lists (the root, scopes,
 * environments, versions, latest, spec.yml); *out is to be freed. Returns how many, or -ENOMEM.
 */
ssize_t node_list_mutable(struct node_table *t, uint64_t **out);

#endif
