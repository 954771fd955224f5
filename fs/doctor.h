/*
 * doctor - what `mlenvfs doctor` looks at, one thing after the other. Each check prints a line or
 * more to stdout: what was looked at, how it is, and when it fails what to do.
 */
#ifndef MLENVFS_FS_DOCTOR_H
#define MLENVFS_FS_DOCTOR_H

#include <stdbool.h>

#include "client/auth_env.h"
#include "client/http.h"
#include "client/source.h"
#include "fs/options.h"
#include "fs/settings.h"

struct doctor {
	const struct options *options;
	struct auth_env env;
	struct settings settings;
	struct http *http;
	struct credential *credential;
	struct source *source;
	struct scope_list *scopes;
	unsigned int failed;
	unsigned int warned;
};

/* One line: how is "ok", "warn", "fail" or "skip"; what was looked at; in words. */
void doctor_say(struct doctor *d, const char *how, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* What to do, below a line that says that it is wrong. */
void doctor_advise(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * doctor_net.c: names, TLS and the clock of one server. False when nothing more is to be had there,
 * which is only a warning where it is not needed for sure.
 */
bool doctor_check_server(struct doctor *d, const char *url, bool needed);

/* doctor_azure.c. False when what follows makes no sense any more. */
bool doctor_check_token(struct doctor *d);
bool doctor_check_subscription(struct doctor *d);
bool doctor_check_workspaces(struct doctor *d);
void doctor_check_storage(struct doctor *d);

/* doctor_mount.c */
void doctor_check_mount(struct doctor *d);

#endif
