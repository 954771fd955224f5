/*
 * keyring - one secret in the desktop's keyring (the Secret Service), through libsecret where that
 * is installed.
 *
 * libsecret is loaded at run time and in a process of its own, which is this program again: a
 * keyring that hangs or asks its user for a password can't hold up a mount, and nothing of GLib is
 * in it. The secret goes through pipes, never through arguments.
 */
#ifndef MLENVFS_CLIENT_KEYRING_H
#define MLENVFS_CLIENT_KEYRING_H

#include <stdbool.h>

#include "client/buf.h"
#include "client/call.h"
#include "client/err.h"

/* The command of this program that is the other process: argv[1], with keyring_main() behind it. */
#define KEYRING_COMMAND "keyring-helper"

enum {
	KEYRING_SECRET_MAX = 64 * 1024, /* bytes */
	KEYRING_TIMEOUT_S = 20,         /* somebody may have to type a password */
};

/* What secret is meant; texts without meaning to the keyring. Borrowed. */
struct keyring_key {
	const char *authority;
	const char *tenant;
	const char *client_id;
};

/* Whether there can be one: a session bus. */
bool keyring_is_likely(void);

/*
 * All of these: -ENOENT when there is no such secret, -EOPNOTSUPP when there is no keyring (no
 * libsecret, nobody who answers), -ETIMEDOUT, -ECANCELED; texts say which.
 */
int keyring_get(const struct keyring_key *key, struct call *call, struct buf *out, struct err *e);
int keyring_set(const struct keyring_key *key, const char *secret, struct call *call,
		struct err *e);
int keyring_clear(const struct keyring_key *key, struct call *call, struct err *e);

/* The other process: "get|set|clear AUTHORITY TENANT CLIENT_ID". Ends it. */
_Noreturn void keyring_main(int argc, char **argv);

#endif
