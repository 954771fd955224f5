/*
 * sharedkey - Azure Storage request signing: SharedKey authorization and service SAS tokens.
 * Used by the client to sign and by the embedded service to check. Source: azureml-rest.md
 * section 10.
 */
#ifndef MLENVFS_CLIENT_SHAREDKEY_H
#define MLENVFS_CLIENT_SHAREDKEY_H

#include <stddef.h>
#include <stdint.h>

#include "client/asset.h"
#include "client/buf.h"
#include "client/clock.h"
#include "client/err.h"

enum { SHAREDKEY_SIGNATURE_SIZE = 64 }; /* base64 of 32 bytes and NUL, with room */

/*
 * Signs a request. method as sent; path: the URL's path as sent (percent-encoded); headers: every
 * header sent (any case); params: the decoded query. account: name; path_style is not a parameter:
 * a path-style URL's path begins with the account already. key: base64. out gets the signature in
 * base64. -EINVAL when the key is not base64; -ENOMEM.
 */
int sharedkey_sign(const char *method, const char *path, const struct kv *headers, size_t n_headers,
		   const struct kv *params, size_t n_params, const char *account, const char *key,
		   char out[SHAREDKEY_SIGNATURE_SIZE], struct err *e);

/*
 * The signature of a container SAS, version 2021-06-08 or later, over its own fields (decoded):
 * permissions sp, start st (may be ""), expiry se, protocol spr (may be ""), version sv,
 * resource sr. For SAS of one blob, canonical names the blob:
 * "/blob/{account}/{container}[/{blob}]".
 */
int sharedkey_sas(const char *sp, const char *st, const char *se, const char *spr, const char *sv,
		  const char *sr, const char *canonical, const char *key,
		  char out[SHAREDKEY_SIGNATURE_SIZE], struct err *e);

/* What a service SAS says, all decoded; as for sharedkey_sas(). */
struct sas {
	const char *sv;
	const char *sr;
	const char *st;
	const char *se;
	const char *sp;
	const char *spr;
	const char *canonical;
};

/* Appends a signed SAS, as it goes into a query (no '?'). Errors of sharedkey_sign() and of out. */
int sharedkey_add_sas(struct buf *out, const struct sas *s, const char *key, struct err *e);

/* "2022-09-14T20:33:51Z", which is how a SAS writes a time (ns since the epoch). */
void sharedkey_sas_time(int64_t ns, char out[CLOCK_ISO_SIZE]);

/* True when both signatures are the same; takes as long whatever they hold. */
bool sharedkey_equal(const char *a, const char *b);

#endif
