/*
 * certs - the certificate and key that the embedded service speaks TLS with: given ones, or ones
 * of its own.
 *
 * Its own come from a small CA in a directory: ca.pem, which clients are told to trust, and
 * ca-key.pem (0600). The CA is bound to this machine by name constraints (localhost, 127.0.0.0/8,
 * ::1; RFC 5280 section 4.2.1.10), so whoever trusts it trusts it for nothing else, even when its
 * key gets lost. The server's own key and certificate are made anew at each start and are only in
 * memory.
 */
#ifndef MLENVFS_EMULATOR_CERTS_H
#define MLENVFS_EMULATOR_CERTS_H

#include "client/err.h"

/* PEM texts, owned; ca_path is NULL when the certificate was given. Zero-initialise. */
struct certs {
	char *chain;   /* the server's certificate, then those between it and its CA */
	char *key;     /* its key, not encrypted */
	char *ca_path; /* what clients are to trust */
};

/*
 * Reads PEM files. -EINVAL with a text that names the file when one is not PEM, the key needs a
 * password, or they do not belong together; else what reading gave.
 */
int certs_load(const char *cert_path, const char *key_path, struct certs *out, struct err *e);

/*
 * Makes a certificate for this machine, with the CA of the directory dir (made, with its parents
 * in place, when it is not there; renewed when it is about to end). Processes take turns. -EPERM
 * when others can read the CA's key; other errors as above.
 */
int certs_make(const char *dir, struct certs *out, struct err *e);

/* Wipes and frees; may be repeated. */
void certs_clear(struct certs *c);

#endif
