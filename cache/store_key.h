/*
 * store_key - the keys under which lists are kept. A letter says what kind of list it is, so that
 * what lies below a scope or an environment has a key that begins with a known text.
 */
#ifndef MLENVFS_CACHE_STORE_KEY_H
#define MLENVFS_CACHE_STORE_KEY_H

enum {
	STORE_KEY_SCOPES = 's',   /* what was asked for: the view */
	STORE_KEY_ENVS = 'e',     /* the scope's key */
	STORE_KEY_VERSIONS = 'v', /* the scope's key, the environment's name */
	STORE_KEY_CONTEXT = 'c',  /* facts: the context's key */
	STORE_KEY_FACT = 'f',     /* facts: whatever its user says */
};

#endif
