/*
 * emu - the embedded service: the REST API of Azure ML for environments, on this machine.
 *
 * Serves the ARM routes of workspaces, environments, registries and datastores, the registry data
 * plane, and the Blob Storage calls of build contexts, all from one SQLite file. It runs inside a
 * mount (on a Unix socket in a private directory) or by itself (`mlenvfs serve`).
 */
#ifndef MLENVFS_EMULATOR_EMU_H
#define MLENVFS_EMULATOR_EMU_H

#include <stdbool.h>
#include <stdint.h>

#include "client/err.h"

struct emu;

enum { EMU_BUILDS_MAX = 64 };

enum emu_storage_auth { EMU_STORAGE_KEY, EMU_STORAGE_SAS, EMU_STORAGE_NONE };

struct emu_conf {
	const char *store;  /* path of the SQLite file; made when it is not there */
	const char *token;  /* the bearer token that every request must carry; NULL: none needed */
	const char *faults; /* path of a fault plan (docs/faults.md); NULL: none */
	const char *entra;  /* path of a file with applications that may sign in; NULL: none */
	unsigned int page_size;  /* rows in one page of a list; 0: the default (100) */
	unsigned int list_lag_s; /* seconds that lists lag behind writes; 0: they do not */
	unsigned int
		registry_polls;  /* 202 answers before a registry PUT is done; 0: done at once */
	bool timestamp_versions; /* nextVersion is always a timestamp */
	enum emu_storage_auth storage_auth; /* what datastores say and listSecrets gives */
	unsigned int requests_per_minute;   /* reads, writes and deletes each; 0: no limit */
	unsigned int sas_seconds;           /* how long a SAS is valid; 0: 8 hours */
	const char *api_versions; /* the only ones that it has, separated by commas; NULL: any */
	const char *builder; /* what builds images: "auto" (or NULL), "buildah", "podman", "docker",
				"none", or the path of a program that is called like one of these */
	unsigned int builds; /* how many images are built at a time; 0: the default (1) */
	unsigned int build_timeout_s; /* how long one may take; 0: the default (3600) */
	/* TLS on TCP: with the PEM files tls_cert and tls_key, or with a CA of our own that is
	 * kept (or made) in the directory tls_dir. All NULL: plain HTTP. */
	const char *tls_cert;
	const char *tls_key;
	const char *tls_dir;
};

/* Where the embedded service's own workspace lives. */
#define EMU_SUBSCRIPTION   "00000000-0000-0000-0000-000000000000"
#define EMU_RESOURCE_GROUP "local"
#define EMU_WORKSPACE      "local"
#define EMU_ACCOUNT \
	"mlenvfslocal" /* storage account; blobs at {base}/mlenvfslocal/{container}/... */

/* Whether emu_conf.builder may have that value. */
bool emu_builder_known(const char *builder);

/* Opens (or makes) the store. -EBUSY when another process holds it, with a text. */
int emu_new(const struct emu_conf *conf, struct emu **out, struct err *e);

/*
 * Starts to serve on a Unix socket at path (removed first; its directory must be private), or on
 * TCP host:port (port 0: any; *port gets the real one). Several may be started. Threads are made
 * here, so call after daemonising.
 */
int emu_listen_unix(struct emu *emu, const char *path, struct err *e);
int emu_listen_tcp(struct emu *emu, const char *host, uint16_t *port, struct err *e);

/* The file with the CA of our own that clients are to trust; NULL when there is none. Borrowed. */
const char *emu_ca(const struct emu *emu);

/* Ends connections and threads, checkpoints and closes the store. NULL is allowed. */
void emu_free(struct emu *emu);

#endif
