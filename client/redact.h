/*
 * redact - takes secrets out of a text before it is logged or shown.
 *
 * What is masked: the value after `sig=` (SAS signatures, any case), after `Bearer `,
 * after `SharedKey account:`, and the values of the JSON or form fields that carry secrets
 * (access_token, refresh_token, client_secret, client_assertion, sasToken, key, ...).
 */
#ifndef MLENVFS_CLIENT_REDACT_H
#define MLENVFS_CLIENT_REDACT_H

/* Overwrites, in place, every secret in the NUL-terminated text with '*'. Keeps its length. */
void redact(char *text);

/*
 * For the words of somebody who knows our secrets: masks also every run of characters that is as
 * long as secrets are and no GUID, whatever it is.
 */
void redact_opaque(char *text);

#endif
