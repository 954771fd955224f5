/*
 * arm - struct source over HTTPS: Azure Resource Manager, the data plane of registries, and the
 * Blob Storage of build contexts; also the embedded service, which speaks the same.
 *
 * docs/client.md says which requests each method makes, what is repeated, and which errno follows
 * from what. fork() before arm_source_new(): a thread is started.
 */
#ifndef MLENVFS_CLIENT_ARM_H
#define MLENVFS_CLIENT_ARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/credential.h"
#include "client/err.h"
#include "client/source.h"

#define ARM_ENDPOINT "https://management.azure.com"

/* All strings are copied; NULL where a default is named. */
struct arm_conf {
	const char *endpoint;          /* NULL: ARM_ENDPOINT; "http://localhost" with unix_socket */
	const char *unix_socket;       /* the endpoint is behind this socket; NULL: TCP */
	struct credential *credential; /* borrowed; must outlive the source */
	const char *subscription;      /* NULL: no workspaces, registries only */
	const char *resource_group;    /* NULL: all of the subscription */
	const char *workspace;         /* NULL: all; else resource_group is needed too */
	const char *const *registries; /* names to show, found through discovery */
	size_t n_registries;
	bool list_registries;       /* the subscription's own registries too, through ARM */
	const char *create_group;   /* new workspaces go there; NULL: none can be made */
	const char *api_version;    /* this one, whatever the service says; NULL: apiversion.h */
	const char *discovery_host; /* base URL of registry discovery; NULL: the cloud's own, or the
				       endpoint when that is no cloud's */
	unsigned int max_connections; /* requests at once; 0: HTTP_TRANSFERS_DEFAULT */
	const char *ca_file;          /* PEM of those who are trusted; NULL: the environment's */
	int64_t connect_timeout;      /* ns; 0: 10 s */
	int64_t backoff;              /* ns before the first repetition; 0: 250 ms */
	const char *user_agent;
};

/*
 * Makes a source. Nothing is requested yet. -EINVAL with a text when the configuration can't be
 * right; -ENOMEM, -EIO. The caller ends it with source_free(), when nobody is in a call any more.
 */
int arm_source_new(const struct arm_conf *conf, struct source **out, struct err *e);

#endif
