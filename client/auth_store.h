/*
 * auth_store - what `mlenvfs login` keeps: who signed in where, and the refresh token, which is in
 * the desktop's keyring where there is one, else in the same file. Source: auth.md section 2.5.
 *
 * The file is of mode 0600, replaced as a whole, and not believed when others may read or write it.
 */
#ifndef MLENVFS_CLIENT_AUTH_STORE_H
#define MLENVFS_CLIENT_AUTH_STORE_H

#include <stdbool.h>

#include "client/buf.h"
#include "client/call.h"
#include "client/err.h"

enum { AUTH_STORE_FILE_MAX = 128 * 1024 /* bytes */ };

/* Zero-initialise; auth_login_clear() when done. */
struct auth_login {
	char *authority;
	char *tenant;
	char *client_id;
	bool keyring;       /* where the refresh token is */
	struct buf refresh; /* the refresh token */
};

/* Wipes and frees. */
void auth_login_clear(struct auth_login *l);

/* Sets the three texts, copied. -ENOMEM. */
int auth_login_set(struct auth_login *l, const char *authority, const char *tenant,
		   const char *client_id);

/*
 * Reads it, the refresh token too. -ENOENT when nobody has signed in (or the keyring has lost it),
 * -EACCES when the file is not only its user's, -EBADMSG when it is damaged, and what keyring_get()
 * says.
 */
int auth_store_load(const char *path, struct call *call, struct auth_login *out, struct err *e);

/*
 * Replaces what is kept, in the keyring too. The directory is there. The keyring is used when
 * l->keyring says so.
 */
int auth_store_save(const char *path, const struct auth_login *l, struct call *call, struct err *e);

/* Forgets it. -ENOENT when there is nothing. */
int auth_store_delete(const char *path, struct call *call, struct err *e);

#endif
