#include "fs/paths.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cleanup.h"

static const char *home(void)
{
	const char *dir = getenv("HOME");
	const struct passwd *pw;

	if (dir && dir[0] == '/')
		return dir;
	pw = getpwuid(geteuid()); /* NOLINT(concurrency-mt-unsafe): before threads are started */
	return pw && pw->pw_dir ? pw->pw_dir : "/";
}

static char *data_path(const char *name)
{
	const char *data = getenv("XDG_DATA_HOME");
	char *path;
	int n;

	if (data && data[0] == '/')
		n = asprintf(&path, "%s/mlenvfs/%s", data, name);
	else
		n = asprintf(&path, "%s/.local/share/mlenvfs/%s", home(), name);
	return n < 0 ? NULL : path;
}

char *paths_store(void)
{
	return data_path("store.db");
}

char *paths_tls(void)
{
	return data_path("tls");
}

char *paths_cache(void)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	char *path;
	int n;

	if (cache && cache[0] == '/')
		n = asprintf(&path, "%s/mlenvfs", cache);
	else
		n = asprintf(&path, "%s/.cache/mlenvfs", home());
	return n < 0 ? NULL : path;
}

/* What lies at folder and name below our state directory. */
static char *in_state(const char *folder, const char *name)
{
	const char *state = getenv("XDG_STATE_HOME");
	char *path;
	int n;

	if (state && state[0] == '/')
		n = asprintf(&path, "%s/mlenvfs/%s%s", state, folder, name);
	else
		n = asprintf(&path, "%s/.local/state/mlenvfs/%s%s", home(), folder, name);
	return n < 0 ? NULL : path;
}

char *paths_drafts(const char *name)
{
	return in_state("drafts/", name);
}

char *paths_builds(const char *name)
{
	return in_state("builds/", name);
}

char *paths_login(void)
{
	return in_state("", "login.json");
}

char *paths_in_home(const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", home(), name) < 0 ? NULL : path;
}

int paths_make_parents(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return 0;
}
