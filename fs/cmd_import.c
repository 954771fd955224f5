/* cmd_import - mlenvfs import: publishes environment directories of the local disk. */
#include "fs/cmd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/credential.h"
#include "client/source.h"
#include "fs/assetdir.h"
#include "fs/backend.h"
#include "fs/xattr.h"

enum { PUBLISH_TIMEOUT_S = 300 };

const char cmd_import_help[] =
	"usage: mlenvfs import [--workspace NAME] MOUNTPOINT DIR...\n"
	"\n"
	"Publishes environments from the local disk into a workspace of the mount. Each DIR is\n"
	"the directory of one version (NAME/VERSION/spec.yml), of one environment, or of many.\n"
	"A version that is there already with the same content is left alone.\n"
	"\n"
	"  -w, --workspace NAME     the workspace (local)\n";

struct import {
	struct source *source;
	struct scope *scope;
	unsigned int published;
	unsigned int failed;
};

/* ---- one version ---- */

static int publish(struct import *im, const struct assetdir *dir, const char *env,
		   const char *version, struct err *e)
{
	_cleanup_free_ char *uri = NULL;
	struct version *record, *stored;
	struct call call;
	int rc = 0;

	call_init(&call, clock_mono() + PUBLISH_TIMEOUT_S * NS_PER_S, CALL_INTERACTIVE);
	if (dir->n_files)
		rc = im->source->ops->upload_context(im->source, im->scope, env, version,
						     dir->files, dir->n_files, &call, &uri, e);
	if (!rc) {
		record = spec_to_version(dir->spec, env, version, dir->conda, uri);
		rc = record ? im->source->ops->put_version(im->source, im->scope, record, &call,
							   &stored, e)
			    : -ENOMEM;
		if (!rc)
			version_unref(stored);
		version_unref(record);
	}
	call_destroy(&call);
	return rc;
}

/* The last two parts of a directory's real path: environment and version. */
static int names_of(const char *path, char **env, char **version)
{
	_cleanup_free_ char *real = realpath(path, NULL);
	char *slash = real ? strrchr(real, '/') : NULL;

	*env = *version = NULL;
	if (!slash)
		return -EINVAL;
	*version = strdup(slash + 1);
	*slash = '\0';
	slash = strrchr(real, '/');
	*env = strdup(slash ? slash + 1 : "");
	return *env && *version ? 0 : -ENOMEM;
}

static int import_version(struct import *im, const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *env = NULL;
	_cleanup_free_ char *version = NULL;
	struct assetdir *dir;
	int rc = fd < 0 ? -errno : names_of(path, &env, &version);

	if (rc)
		return err_set(e, rc, "%s", strerror(-rc));
	rc = assetdir_read(fd, "spec.yml", -1, env, version, &dir, e);
	if (rc)
		return rc;
	if (dir->warnings)
		fprintf(stderr, "%s: %s\n", path, dir->warnings);
	rc = publish(im, dir, env, version, e);
	assetdir_free(dir);
	return rc;
}

/* ---- many ---- */

static bool has_spec(const char *path)
{
	_cleanup_free_ char *spec = NULL;

	if (asprintf(&spec, "%s/spec.yml", path) < 0)
		return false;
	return access(spec, F_OK) == 0;
}

static int by_version(const struct dirent **a, const struct dirent **b)
{
	return version_name_compare((*a)->d_name, (*b)->d_name);
}

static int not_hidden(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* Depth: 2 environments below, 1 versions below, 0 a version itself. */
static void import_tree(struct import *im, const char *path, int depth)
{
	struct err e = ERR_INIT;
	struct dirent **names;
	int n;

	if (has_spec(path)) {
		if (import_version(im, path, &e)) {
			cmd_complain("%s: %s", path, e.msg);
			im->failed++;
		} else {
			printf("%s\n", path);
			im->published++;
		}
		return;
	}
	n = depth ? scandir(path, &names, not_hidden, by_version) : 0;
	if (n < 0) {
		cmd_complain("%s: %s", path, strerror(errno));
		im->failed++;
		return;
	}
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *below = NULL;
		struct stat st;

		if (asprintf(&below, "%s/%s", path, names[i]->d_name) >= 0 &&
		    stat(below, &st) == 0 && S_ISDIR(st.st_mode))
			import_tree(im, below, depth - 1);
		free(names[i]);
	}
	if (depth)
		free(names);
}

/* ---- the command ---- */

static int find_workspace(struct import *im, const char *name, struct err *e)
{
	struct scope_list *scopes;
	struct call call;
	int rc;

	call_init(&call, clock_mono() + PUBLISH_TIMEOUT_S * NS_PER_S, CALL_INTERACTIVE);
	rc = im->source->ops->list_scopes(im->source, &call, &scopes, e);
	call_destroy(&call);
	if (rc)
		return rc;
	im->scope = scope_ref(scope_list_find(scopes, name));
	scope_list_unref(scopes);
	if (!im->scope)
		return err_set(e, -ENOENT, "there is no workspace '%s'", name);
	return 0;
}

static int run(const char *mountpoint, const char *workspace, int argc, char **argv)
{
	struct import im = {0};
	struct credential *cred = NULL;
	struct err e = ERR_INIT;
	_cleanup_free_ char *status = NULL;
	int rc = cmd_read_status(mountpoint, &status, &e);

	if (!rc)
		rc = backend_connect(status, cmd_is_mine(mountpoint), &im.source, &cred, &e);
	if (!rc)
		rc = find_workspace(&im, workspace, &e);
	for (int i = 0; !rc && i < argc; i++)
		import_tree(&im, argv[i], 2);
	scope_unref(im.scope);
	source_free(im.source);
	credential_free(cred);
	if (rc) {
		cmd_complain("%s", err_text(&e, rc));
		return CMD_FAILED;
	}
	/* The mount shows them at once, not when its lists are old. */
	if (setxattr(mountpoint, XATTR_REFRESH, "", 0, 0) < 0)
		cmd_complain("%s: %s", mountpoint, strerror(errno));
	printf("%u published, %u failed\n", im.published, im.failed);
	return im.failed || !im.published ? CMD_FAILED : CMD_OK;
}

int cmd_import(int argc, char **argv)
{
	static const struct option longs[] = {
		{"workspace", required_argument, NULL, 'w'}, {"help", no_argument, NULL, 'h'}, {0}};
	const char *workspace = "local";
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, ":w:h", longs, NULL)) != -1) {
		switch (c) {
		case 'w':
			workspace = optarg;
			break;
		case 'h':
			fputs(cmd_import_help, stdout);
			return CMD_OK;
		case ':':
			return cmd_usage("import", "'%s' needs a value", argv[optind - 1]);
		default:
			return cmd_usage("import", "unknown option '%s'", argv[optind - 1]);
		}
	}
	if (argc - optind < 2)
		return cmd_usage("import", "a mount point and at least one directory are needed");
	return run(argv[optind], workspace, argc - optind - 1, argv + optind + 1);
}
