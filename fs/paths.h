/*
 * paths - where files of the user lie (the XDG base directories).
 */
#ifndef MLENVFS_FS_PATHS_H
#define MLENVFS_FS_PATHS_H

/*
 * $XDG_DATA_HOME/mlenvfs/store.db, else below ~/.local/share: the embedded service's store. To be
 * freed; NULL when memory ran out. Call before threads are started.
 */
char *paths_store(void);

/* The same for $XDG_DATA_HOME/mlenvfs/tls: the embedded service's own CA. */
char *paths_tls(void);

/*
 * $XDG_CACHE_HOME/mlenvfs, else below ~/.cache: what can be fetched again. To be freed; NULL when
 * memory ran out. Call before threads are started.
 */
char *paths_cache(void);

/*
 * $XDG_STATE_HOME/mlenvfs/drafts/NAME, else below ~/.local/state: where the drafts of one source
 * lie. To be freed; NULL when memory ran out. Call before threads are started.
 */
char *paths_drafts(const char *name);

/* The same with builds/NAME: what is remembered of one source's image builds. */
char *paths_builds(const char *name);

/* $XDG_STATE_HOME/mlenvfs/login.json, else below ~/.local/state: what `mlenvfs login` keeps. As
 * above. */
char *paths_login(void);

/* ~/NAME. As above. */
char *paths_in_home(const char *name);

/* Makes the directories that lead to the file path, each 0700. 0 or a negative errno. */
int paths_make_parents(const char *path);

#endif
