/*
 * fsys - one mounted file system: what the operations need at hand.
 */
#ifndef MLENVFS_FS_FSYS_H
#define MLENVFS_FS_FSYS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct builds;
struct catalog;
struct disk;
struct edits;
struct freenames;
struct journal;
struct kept;
struct listed;
struct local;
struct seen;
struct settle;
struct turns;
struct upcalls;
struct upper_run;
struct source;
struct handles;
struct node_table;
struct notify;
struct whiteouts;

/* How long the kernel may keep what cannot change. */
#define FSYS_FOREVER_S 86400.0

/* What this kernel can do without; all false until it has said so. */
struct fsys_kernel {
	atomic_bool no_opendir; /* names of directories are cached without being opened */
	atomic_bool no_open;    /* files are read without being opened; read-only mounts only */
	atomic_bool symlinks;   /* it caches where they lead */
	atomic_bool no_flush;   /* readers close without a request */
	atomic_bool store;      /* content can be given to it unasked */
};

struct fsys {
	struct catalog *catalog;
	struct source *source; /* for what goes past the catalog: uploads */
	struct builds *builds; /* of images; NULL: there are none */
	/* what is written; all NULL for a read-only mount */
	struct local *local;               /* the state directory */
	struct upper_run *run;             /* this mount's own part of it */
	struct edits *edits;               /* published files that are edited */
	struct kept *kept;                 /* what is kept of saved files */
	_Atomic uint64_t shown_generation; /* moves on with every change of what is kept */
	struct journal *journal;           /* publications in flight */
	struct freenames *freenames;       /* what fsync found out for close */
	struct seen *seen;                 /* what programs saw of the records that they may save */
	struct turns *saving;              /* one save of an environment at a time */
	struct settle *settle;             /* drafts that are published when they are quiet */
	struct node_table *nodes;
	struct handles *handles;
	struct notify *notify;
	struct disk *disk;           /* the cache on the disk */
	struct listed *listed;       /* directories that are being read */
	struct rendered *rendered;   /* texts rendered a moment ago; NULL: none are kept */
	struct upcalls *upcalls;     /* what the kernel asked; NULL: it is not counted */
	struct fsys_kernel kernel;   /* what it can do, */
	const char *without;         /* and what of that is not to be used, for measuring it */
	struct whiteouts *whiteouts; /* names removed here: group is the version's directory, or the
					environment's for `latest` and versions */
	struct whiteouts *emptied;   /* environments emptied in .archived: group is .archived */
	bool delete_permanent;       /* the first rm deletes; else it archives */
	uid_t uid;                   /* who owns what is shown */
	gid_t gid;
	bool anonymous;        /* show anonymous environments */
	double refresh_s;      /* seconds that lists are fresh */
	int64_t timeout;       /* ns that one file operation may take */
	int64_t save_timeout;  /* ns that a save may take */
	int64_t started;       /* clock_wall() at the mount; the root's time */
	const char *local_dir; /* a directory on the disk whose free space statfs shows */
	const char *about;     /* JSON members about the mount, for user.mlenvfs.status */
};

#endif
