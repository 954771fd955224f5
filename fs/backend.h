/*
 * backend - where the environments come from: the embedded service in this process, or an Azure ML
 * endpoint, as a struct source. The order of the layers below the catalog is here.
 */
#ifndef MLENVFS_FS_BACKEND_H
#define MLENVFS_FS_BACKEND_H

#include "client/source.h"
#include "fs/options.h"

struct backend;

/*
 * Opens what the options name. Starts threads: call after daemonising. Secrets in environment
 * variables are taken out of them (client/auth_env.h). Negative errno with a text that says what to
 * do.
 */
int backend_open(const struct options *o, struct backend **out, struct err *e);

/* The source; borrowed. */
struct source *backend_source(struct backend *b);

/* JSON of what the mount says about its source, for user.mlenvfs.status; borrowed. */
const char *backend_about(const struct backend *b);

/* What names the service, the same at every mount of it: the store's path or the endpoint.
 * Borrowed. */
const char *backend_identity(const struct backend *b);

/* What names, of all that the service has, the scopes that this source shows. Borrowed. */
const char *backend_view(const struct backend *b);

/* Whether the service is in this process. */
bool backend_is_embedded(const struct backend *b);

/* The directory whose disk drafts and the embedded store lie on; borrowed. */
const char *backend_local_dir(const struct backend *b);

/* Stops and frees everything. NULL is allowed. */
void backend_close(struct backend *b);

/*
 * A source for another process that talks to the service of a mount, from that mount's status JSON.
 * mine: the kernel says that this user mounted it; what somebody else's mount names as its service
 * gets no token that was not given for it (AZURE_ACCESS_TOKEN). The caller frees *cred after *out.
 */
struct credential;
int backend_connect(const char *status_json, bool mine, struct source **out,
		    struct credential **cred, struct err *e);

#endif
