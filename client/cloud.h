/*
 * cloud - the Azure clouds: where each signs in, and what its Resource Manager is called.
 * Source: auth.md section 1.
 */
#ifndef MLENVFS_CLIENT_CLOUD_H
#define MLENVFS_CLIENT_CLOUD_H

struct cloud {
	const char *name;      /* as `az cloud list` has it */
	const char *authority; /* where tokens come from; no slash at the end */
	const char *endpoint;  /* of the Resource Manager; no slash at the end */
	const char *arm_scope; /* what SCOPE_ARM is called there */
};

/* By name (any case; also the SDKs' AZURE_PUBLIC_CLOUD and the like); NULL when there is none. */
const struct cloud *cloud_by_name(const char *name);

/* The one that signs in at this host ("login.microsoftonline.us"); NULL when none does. */
const struct cloud *cloud_by_authority_host(const char *host);

/* The one to assume where nothing is said. */
const struct cloud *cloud_public(void);

#endif
