/*
 * entra - Microsoft Entra ID (Azure Active Directory) for the embedded service: the applications
 * that may sign in, the tokens that were given to them, and what those are worth.
 *
 * Access tokens are JWTs, signed with a key that is made when the first one is asked for and never
 * leaves memory; refresh tokens and device codes are random, and only their digests are kept. A
 * restart forgets all of them, and all applications that did not come from a file. Any thread.
 * Sources: auth.md sections 1, 2 and 9; RFC 6749, 7523, 8628.
 */
#ifndef MLENVFS_EMULATOR_ENTRA_H
#define MLENVFS_EMULATOR_ENTRA_H

#include <stdbool.h>

#include "client/err.h"
#include "emulator/emu.h"

/* The tenant of everything that names none. */
#define ENTRA_TENANT EMU_SUBSCRIPTION

struct entra;

/* What a token is good for; bits. */
enum entra_audience {
	ENTRA_NOWHERE = 0,
	ENTRA_ARM = 1 << 0,     /* https://management.azure.com, and this service's own address */
	ENTRA_STORAGE = 1 << 1, /* https://storage.azure.com */
	ENTRA_ML = 1 << 2,      /* https://ml.azure.com */
};

enum entra_verdict {
	ENTRA_GOOD,
	ENTRA_FOREIGN, /* not from here, or not whole */
	ENTRA_EXPIRED,
	ENTRA_REVOKED,
	ENTRA_CHALLENGED, /* revoked in the way of continuous access evaluation */
	ENTRA_ELSEWHERE   /* it is for something else */
};

struct entra *entra_new(void); /* NULL: no memory */
void entra_free(struct entra *n);

/* Reads applications and settings from a file (docs/emulator.md). The errno has a text. */
int entra_load(struct entra *n, const char *path, struct err *e);

/* What an access token is worth to a service that takes the audiences (bits). */
enum entra_verdict entra_check(struct entra *n, const char *token, unsigned int audiences);

/* Adds the Date of Azure's clock where that is not this machine's. */
struct emu_reply;
void entra_add_date(struct entra *n, struct emu_reply *reply);

/* Whether a path is one of Entra's: its answers have a form of their own. */
bool entra_is_path(const char *path);

#endif
