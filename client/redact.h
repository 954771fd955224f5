/*
 * redact - takes secrets out of a text before it is logged or shown.
 *
 * What is masked: the value after `sig=` (SAS signatures, any case), after `Bearer `,
 * after `SharedKey account:`, and the values of the JSON or form fields that carry secrets
 * (access_token, refresh_token, client_secret, client_assertion, sasToken, key, ...).
 */
#ifndef MLENVFS_CLIENT_REDACT_H
#define MLENVFS_CLIENT_REDACT_H

#include <stddef.h>

/* Overwrites, in place, every secret in the NUL-terminated text with '*'. Keeps its length. */
void redact(char *text);

/*
 * For the words of somebody who knows our secrets: masks also every run of characters that is as
 * long as secrets are and no GUID, whatever it is.
 */
void redact_opaque(char *text);

/* Masks every place in text where this secret is; "" and NULL are none. */
void redact_secret(char *text, const char *secret);

/*
 * The words of such a somebody for a text of ours: redact_opaque(), in place, and then as many
 * whole characters of it as fit go to out (size bytes), control characters as blanks. In this
 * order: half a secret does not look like one.
 */
void redact_words(char *words, char *out, size_t size);

#endif
