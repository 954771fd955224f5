/*
 * auth_chain - several ways to get a token, tried in order until one is set up; it is asked first
 * from then on. Source: auth.md section 5.
 */
#ifndef MLENVFS_CLIENT_AUTH_CHAIN_H
#define MLENVFS_CLIENT_AUTH_CHAIN_H

#include "client/auth_source.h"

enum { AUTH_CHAIN_MAX = 8 };

/*
 * A chain of none. advice ends the text of its failure; static. -ENOMEM.
 */
int auth_chain_new(const char *name, const char *advice, struct auth_source **out, struct err *e);

/*
 * Puts s at its end; the chain owns it, also when this fails (-E2BIG). tool: a way that only
 * happens to be there, as a program of developers: when it fails the chain goes on.
 */
int auth_chain_add(struct auth_source *chain, struct auth_source *s, bool tool);

/* A way that is not set up, and why, in the chain or alone: its failure says so. why is copied. */
int auth_missing_new(const char *name, const char *why, struct auth_source **out);

/* The name of the way that gave the last token; NULL when there was none. Static. */
const char *auth_chain_winner(struct auth_source *chain);

#endif
