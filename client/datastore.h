/*
 * datastore - which secret opens which container. A workspace's datastores say it for its own
 * containers (listed once an hour; a secret is asked for once and kept for half an hour), a
 * registry gives a signature for each asset.
 *
 * A secret leaves here only for a place with exactly the datastore's host, account and container:
 * a contextUri that names another one gets nothing of it.
 */
#ifndef MLENVFS_CLIENT_DATASTORE_H
#define MLENVFS_CLIENT_DATASTORE_H

#include "client/arm_int.h"
#include "client/blob.h"

int datastores_new(struct datastores **out);
void datastores_free(struct datastores *d); /* NULL is allowed */

/*
 * The access to a place as the workspace has it. fresh: what was known has been refused. Falls
 * back to the place's own signature, or to our token where the place is Azure's storage or the
 * endpoint; -EACCES when nothing may be used.
 */
int datastore_access(struct arm *a, struct scope *scope, const struct blob_place *place, bool fresh,
		     struct call *c, struct blob_access *out, struct err *e);

/* The container for uploads: workspaceblobstore, or the default datastore. */
int datastore_upload_place(struct arm *a, struct scope *scope, struct call *c,
			   struct blob_place *out, struct err *e);

/* ---- dataref.c: registries ---- */

/*
 * Remembers which asset a context belongs to: reading its files is given the context only, and a
 * registry's signatures are asked for by asset.
 */
int dataref_remember(struct arm *a, const char *uri, const char *env, const char *version,
		     struct err *e);

/* The access to a registry asset's context, kept like a datastore's secret. */
int dataref_access(struct arm *a, struct scope *scope, const char *uri,
		   const struct blob_place *place, bool fresh, struct call *c,
		   struct blob_access *out, struct err *e);

/* A fresh container for the context of an asset that is to be made. -EEXIST when there is one. */
int dataref_upload_place(struct arm *a, struct scope *scope, const char *env, const char *version,
			 struct call *c, struct blob_place *place, struct blob_access *access,
			 struct err *e);

/* ---- secrets.c: what both keep ---- */

struct secrets;
int secrets_new(struct secrets **out);
void secrets_free(struct secrets *s);

/* A copy of what is kept under key and is not too old; false when there is none. */
bool secrets_get(struct secrets *s, const char *key, struct blob_access *out);
void secrets_put(struct secrets *s, const char *key, const struct blob_access *access);

/* Access that is a signature or key; the secret is copied. -ENOMEM. */
int blob_access_set(struct blob_access *out, enum blob_access_kind kind, const char *secret,
		    struct err *e);

struct secrets *datastores_secrets(struct datastores *d);

/* Where dataref.c keeps its assets; a tsearch() tree guarded by the lock. */
struct assets {
	pthread_mutex_t lock;
	/* protected by lock */
	void *tree;
	size_t n;
};
struct assets *datastores_assets(struct datastores *d);
void assets_clear(struct assets *a);

#endif
