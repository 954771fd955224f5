/*
 * azure_files - what Azure's own tools keep on disk: the Azure CLI's configuration and profile, and
 * the config.json of the Azure ML SDK. Read only. Source: auth.md sections 7 and 8.
 *
 * All of them: 0, -ENOENT when there is no such file or value, -EBADMSG when the file can't be
 * understood (the text names it), -ENOMEM. Strings are the caller's to free.
 */
#ifndef MLENVFS_CLIENT_AZURE_FILES_H
#define MLENVFS_CLIENT_AZURE_FILES_H

#include "client/err.h"

enum {
	AZURE_FILE_MAX = 4 * 1024 * 1024, /* bytes; a profile of thousands of subscriptions */
	ML_CONFIG_LEVELS = 20,            /* folders that are searched upward */
};

/* The value of a key in a section of the CLI's file "config"; dir: the CLI's folder. */
int azure_cli_config(const char *dir, const char *section, const char *key, char **out,
		     struct err *e);

struct azure_subscription {
	char *id;
	char *tenant;
	char *cloud;
};
void azure_subscription_clear(struct azure_subscription *s);

/* A subscription that the CLI knows: by id, or its default one (id NULL). */
int azure_cli_subscription(const char *dir, const char *id, struct azure_subscription *out,
			   struct err *e);

struct ml_config {
	char *path; /* of the file that it is from */
	char *subscription;
	char *resource_group;
	char *workspace;
};
void ml_config_clear(struct ml_config *c);

/*
 * The nearest .azureml/config.json, aml_config/config.json or config.json (or project.json), upward
 * from the folder start, an absolute path.
 */
int ml_config_find(const char *start, struct ml_config *out, struct err *e);

#endif
