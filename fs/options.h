/*
 * options - everything that can be set for a mount, in one table: `-o` on the command line and in
 * /etc/fstab, the help text, and the man page's list (a test compares them).
 */
#ifndef MLENVFS_FS_OPTIONS_H
#define MLENVFS_FS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "client/auth.h"
#include "client/err.h"
#include "client/log.h"

enum { OPTIONS_REGISTRIES_MAX = 64 };

struct options {
	char *source; /* as given; NULL: none */
	char *mountpoint;
	bool foreground;

	char *arm_endpoint; /* NULL: Azure's, or the embedded service */
	char *api_version;
	enum auth_kind credential;
	char *cloud;  /* NULL: as the environment says */
	char *cafile; /* NULL: as the environment says */
	char *registries[OPTIONS_REGISTRIES_MAX];
	size_t n_registries;
	double refresh;      /* seconds */
	double timeout;      /* seconds */
	double save_timeout; /* seconds */
	double settle;       /* seconds */
	unsigned max_requests;
	unsigned readahead;
	uint64_t cache_memory; /* bytes */
	uint64_t cache_size;   /* bytes on the disk; 0: none */
	char *cache_dir;       /* NULL: where the user's caches are */
	char *store;
	char *builder;
	char *log_file;
	enum log_level log_level;
	bool anonymous;
	bool ro;
	bool delete_permanent;
	bool allow_other;
	bool allow_root;
	bool debug;
	uid_t uid;
	gid_t gid;
	char *kernel; /* options handed on to the kernel: "nosuid,noexec"; NULL: none */
};

void options_init(struct options *o);
void options_clear(struct options *o);

/*
 * Reads one `-o` argument: "name", "name=value", separated by commas ("\," is a comma in a value).
 * -EINVAL with a text that names the option, and the nearest known one, when it is wrong.
 */
int options_parse(struct options *o, const char *text, struct err *e);

/* Reads a size: a number of bytes, or one with K, M or G. 0 or -EINVAL. */
int options_size(const char *value, uint64_t *out);

/* Prints the table as help text. */
void options_help(FILE *to);

/* Where a SOURCE leads. Strings are owned; NULL where not given. */
struct source_uri {
	bool embedded;
	bool azure; /* what the settings name: settings.h */
	char *subscription;
	char *resource_group;
	char *workspace;
	char *registry;
};

/*
 * Reads a SOURCE: NULL or "embedded", "azure",
 * azureml://subscriptions/ID[/resourceGroups/RG[/workspaces/WS]], azureml://registries/NAME.
 * -EINVAL with a text.
 */
int source_uri_parse(const char *text, struct source_uri *out, struct err *e);
void source_uri_clear(struct source_uri *u);

#endif
