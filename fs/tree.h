/*
 * tree - which names a directory holds and what they stand for (semantics.md section 1).
 *
 * Answers come from the catalog's snapshots; a listing keeps the snapshots alive that its items
 * point into.
 */
#ifndef MLENVFS_FS_TREE_H
#define MLENVFS_FS_TREE_H

#include "client/call.h"
#include "client/err.h"
#include "fs/fsys.h"
#include "fs/node.h"

/* One name in a directory. Pointers are borrowed from the listing. */
struct tree_item {
	enum node_kind kind;
	bool archived;
	uint32_t ctx_index;
	const char *name;     /* file name */
	const char *own_name; /* the service's name; scopes: what tells them apart; else "" */
	struct scope *scope;
	struct env *env;
	struct version *version;
	struct ctxtree *ctx;
	const char *local; /* NODE_LOCAL: its path */
	mode_t type;       /* NODE_LOCAL: S_IFREG, S_IFDIR, S_IFLNK */
};

struct listing {
	struct tree_item *items; /* sorted as the service's names are */
	size_t count;
	uint64_t identity; /* the same while the same snapshot is listed; 0: never the same */

	/* what keeps the items alive */
	struct scope_list *scopes;
	struct env_list *envs;
	struct version_list *versions;
	struct ctxtree *ctx;
	struct scope *scope;
	struct version *version;
	char **texts;
	size_t n_texts;
	size_t text_cap;
	size_t cap;
};

/*
 * Everything in the directory, "." and ".." left out. Blocks (see call.h); 0, -ENOTDIR, or as
 * client/source.h has it. The caller frees *out with listing_free().
 */
int tree_list(struct fsys *fs, struct node *dir, struct call *c, struct listing **out,
	      struct err *e);

/* The one item of that name: a listing of one. -ENOENT when there is none. Blocks. */
int tree_lookup(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		struct listing **out, struct err *e);

/*
 * The same of what is published only, whatever was removed or is edited here; the listing may be
 * empty.
 */
int tree_published(struct fsys *fs, struct node *dir, const char *name, struct call *c,
		   struct listing **out, struct err *e);

void listing_free(struct listing *l); /* NULL is allowed */

/* A name that tools look for everywhere and that can't be in dir: nobody has to be asked. */
bool tree_is_probe(const struct node *dir, const char *name);

/* ---- drafts: tree_local.c ---- */

/* Whether a directory can hold files of the disk beside what is published. */
bool tree_has_local(const struct fsys *fs, const struct node *dir);

/* Whether there is a place for drafts of an environment on the disk. */
bool tree_env_is_local(struct fsys *fs, const struct node *env);

/*
 * Puts what lies on the disk into the listing of a directory: all of it, or the one name wanted.
 * What is edited replaces what is published; of everything else what is listed already goes before.
 */
int tree_merge_local(struct fsys *fs, struct node *dir, struct listing *l, const char *wanted);

/* Adds an item whose name (and path, or own_name) are copied into the listing. */
int tree_add_copy(struct listing *l, struct tree_item item, const char *name, const char *own_name,
		  const char *local);

/* Names of drafts: a leading dot, and more than dots behind it. */
bool tree_is_draft_name(const char *name);

/* The inode number of an item in a directory (collisions aside). */
uint64_t tree_number(const struct node *dir, const struct tree_item *item);

/* The group that names removed in a directory belong to (whiteout.h). */
uint64_t tree_group(struct node *dir);

/* The node for an item, with one lookup added; NULL when memory ran out. */
struct node *tree_intern(struct fsys *fs, struct node *dir, const struct tree_item *item);

/*
 * Brings the records of a node up to date with the catalog (a request when the list is old).
 * What is gone keeps its last record. 0 or as client/source.h has it.
 */
int tree_refresh(struct fsys *fs, struct node *n, struct call *c, struct err *e);

/* The version that `latest` of this environment points to, a reference; NULL when there is none. */
int tree_latest(struct fsys *fs, struct node *env, struct call *c, struct version **out,
		struct err *e);

/* The context of a NODE_VERSION as a tree, a reference. Blocks. */
int tree_context(struct fsys *fs, struct node *version, struct call *c, struct ctxtree **out,
		 struct err *e);

/* The NODE_VERSION that a node lies in (itself for one), or NULL. */
struct node *tree_version_of(struct node *n);

/* The text that names a scope's inode: the same on every machine. Returns out. */
enum { SCOPE_KEY_SIZE = 1024 };
const char *tree_scope_key(const struct scope *s, char out[SCOPE_KEY_SIZE]);

#endif
