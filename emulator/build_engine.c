#include "emulator/build_engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))

enum { PROGRAM_PATH_MAX = 8192 };

static const char *const names[] = {
	[ENGINE_BUILDAH] = "buildah", [ENGINE_PODMAN] = "podman", [ENGINE_DOCKER] = "docker"};

/*
 * What the program gets to know of our environment: where things are, how to speak, and how to
 * reach the network. Nothing else, for among it are tokens and keys.
 */
static const char *const env_names[] = {"PATH",
					"HOME",
					"USER",
					"LOGNAME",
					"TZ",
					"XDG_RUNTIME_DIR",
					"XDG_DATA_HOME",
					"XDG_CONFIG_HOME",
					"XDG_CACHE_HOME",
					"BUILDAH_ISOLATION",
					"BUILDAH_LAYERS",
					"BUILDAH_RUNTIME",
					"CONTAINERS_CONF",
					"CONTAINERS_REGISTRIES_CONF",
					"CONTAINERS_STORAGE_CONF",
					"CONTAINER_HOST",
					"REGISTRY_AUTH_FILE",
					"STORAGE_DRIVER",
					"STORAGE_OPTS",
					"DOCKER_BUILDKIT",
					"DOCKER_CERT_PATH",
					"DOCKER_CONFIG",
					"DOCKER_CONTEXT",
					"DOCKER_HOST",
					"DOCKER_TLS_VERIFY",
					"SSL_CERT_FILE",
					"SSL_CERT_DIR"};

/* These may hold a password, and go on into the image's own RUN steps; then they are left out. */
static const char *const proxy_names[] = {"http_proxy", "https_proxy", "no_proxy", "all_proxy",
					  "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"};

bool build_engine_known(const char *builder)
{
	if (strchr(builder, '/'))
		return builder[0] == '/';
	for (size_t i = 0; i < COUNT(names); i++)
		if (strcmp(builder, names[i]) == 0)
			return true;
	return strcmp(builder, "auto") == 0 || strcmp(builder, "none") == 0;
}

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static const char *search_path(void)
{
	const char *path = getenv("PATH");

	return path && *path ? path : DEFAULT_PATH;
}

/* The path of a program in PATH, NULL when it is not in it. Only absolute directories count. */
static char *find_in_path(const char *name)
{
	const char *path = search_path();
	char full[PROGRAM_PATH_MAX];

	while (*path) {
		size_t len = strcspn(path, ":");

		if (*path == '/' &&
		    snprintf(full, sizeof(full), "%.*s/%s", (int)len, path, name) <
			    (int)sizeof(full) &&
		    is_program(full))
			return strdup(full);
		path += len + (path[len] == ':');
	}
	return NULL;
}

/* What starts containers for buildah and podman. */
static bool has_runtime(void)
{
	_cleanup_free_ char *crun = find_in_path("crun"), *runc = find_in_path("runc");

	return crun || runc;
}

/* How a program of that name is called: like buildah, unless its name says something else. */
static enum build_engine_kind kind_of(const char *name)
{
	for (size_t i = 0; i < COUNT(names); i++)
		if (strncmp(name, names[i], strlen(names[i])) == 0)
			return (enum build_engine_kind)i;
	return ENGINE_BUILDAH;
}

static int find_program(const char *builder, char **path, struct err *e)
{
	static const char advice[] =
		"Install buildah (on Debian and Ubuntu: apt install buildah), podman or docker, "
		"and start the build again.";
	bool any = strcmp(builder, "auto") == 0;

	if (strcmp(builder, "none") == 0)
		return err_set(e, -ENOENT, "this service was started with --builder none");
	if (strchr(builder, '/')) {
		*path = is_program(builder) ? strdup(builder) : NULL;
		return *path ? 0
			     : err_set(e, -ENOENT, "the builder %s is not there, or not a program",
				       builder);
	}
	for (size_t i = 0; any && i < COUNT(names) && !*path; i++)
		*path = find_in_path(names[i]);
	if (!any)
		*path = find_in_path(builder);
	if (*path)
		return 0;
	if (any)
		return err_set(e, -ENOENT, "neither buildah nor podman nor docker is in %s. %s",
			       search_path(), advice);
	return err_set(e, -ENOENT, "%s is not in %s. %s", builder, search_path(), advice);
}

static int add_env(char **env, size_t *n, const char *name, bool proxy)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1024 * 1024);
	const char *value = getenv(name);

	if (!value || (proxy && strchr(value, '@')))
		return 0;
	buf_addf(&b, "%s=%s", name, value);
	env[*n] = buf_steal(&b, NULL);
	return env[(*n)++] ? 0 : -ENOMEM;
}

/* With room for one more, see build_engine_set_tmp(). */
static char **make_env(void)
{
	char **env = calloc(COUNT(env_names) + COUNT(proxy_names) + 3, sizeof(*env));
	size_t n = 0;
	int ret = env ? 0 : -ENOMEM;

	for (size_t i = 0; i < COUNT(env_names) && !ret; i++)
		ret = add_env(env, &n, env_names[i], false);
	for (size_t i = 0; i < COUNT(proxy_names) && !ret; i++)
		ret = add_env(env, &n, proxy_names[i], true);
	/* What it writes is for the log, whose encoding is this. */
	if (!ret) {
		env[n] = strdup("LANG=C.UTF-8");
		ret = env[n] ? 0 : -ENOMEM;
	}
	if (!ret)
		return env;
	for (size_t i = 0; env && env[i]; i++)
		free(env[i]);
	free(env);
	return NULL;
}

int build_engine_find(const char *builder, struct build_engine *out, struct err *e)
{
	const char *slash;
	int ret;

	*out = (struct build_engine){0};
	ret = find_program(builder ? builder : "auto", &out->path, e);
	if (ret || !out->path)
		return ret ? ret : -ENOENT;
	slash = strrchr(out->path, '/');
	out->name = slash ? slash + 1 : out->path;
	out->kind = kind_of(out->name);
	out->chroot = out->kind != ENGINE_DOCKER && !getenv("BUILDAH_ISOLATION") && !has_runtime();
	out->env = make_env();
	return out->env ? 0 : err_set(e, -ENOMEM, "no memory");
}

int build_engine_set_tmp(struct build_engine *g, const char *path)
{
	_cleanup_buf_ struct buf b = BUF_INIT(PROGRAM_PATH_MAX);
	size_t n = 0;

	buf_addf(&b, "TMPDIR=%s", path);
	while (g->env[n])
		n++;
	g->env[n] = buf_steal(&b, NULL);
	return g->env[n] ? 0 : -ENOMEM;
}

void build_engine_release(struct build_engine *g)
{
	for (size_t i = 0; g->env && g->env[i]; i++)
		free(g->env[i]);
	free(g->env);
	free(g->path);
	*g = (struct build_engine){0};
}

void build_engine_build_args(const struct build_engine *g, const char *image,
			     const char *dockerfile, const char *context,
			     const char *argv[BUILD_ENGINE_ARGS])
{
	size_t n = 0;

	argv[n++] = g->path;
	argv[n++] = "build";
	if (g->kind != ENGINE_DOCKER) {
		/* Docker's own has HEALTHCHECK, ONBUILD and SHELL; it is what Azure ML builds. */
		argv[n++] = "--format";
		argv[n++] = "docker";
	}
	if (g->chroot) {
		argv[n++] = "--isolation";
		argv[n++] = "chroot";
	}
	argv[n++] = "--tag";
	argv[n++] = image;
	argv[n++] = "--file";
	argv[n++] = dockerfile;
	argv[n++] = context;
	argv[n] = NULL;
}

void build_engine_look_args(const struct build_engine *g, const char *image,
			    const char *argv[BUILD_ENGINE_ARGS])
{
	size_t n = 0;

	argv[n++] = g->path;
	if (g->kind == ENGINE_BUILDAH) {
		argv[n++] = "inspect";
		argv[n++] = "--type";
		argv[n++] = "image";
	} else {
		argv[n++] = "image";
		argv[n++] = "inspect";
	}
	argv[n++] = image;
	argv[n] = NULL;
}
