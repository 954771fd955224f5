#include "fs/options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "client/nearest.h"

enum { OPTION_TEXT_MAX = 65536 };

enum kind {
	FLAG,
	TEXT,
	SECONDS,
	COUNT,
	SIZE,
	ID,
	LEVEL,
	REGISTRY,
	DELETE,
	CREDENTIAL,
	KERNEL,
	IGNORED
};

#define AT(field) offsetof(struct options, field)

static const struct option {
	const char *name;
	enum kind kind;
	size_t at;
	const char *arg;
	const char *help;
} table[] = {
	{"arm_endpoint", TEXT, AT(arm_endpoint), "URL",
	 "the Azure Resource Manager (or embedded service) to talk to"},
	{"credential", CREDENTIAL, AT(credential), "NAME",
	 "how to sign in: environment, workload-identity, managed-identity, login, azure-cli, "
	 "token, none (the first that is set up)"},
	{"cloud", TEXT, AT(cloud), "NAME",
	 "AzureCloud (default), AzureChinaCloud or AzureUSGovernment"},
	{"cafile", TEXT, AT(cafile), "FILE",
	 "PEM certificates of those who are trusted (the system's)"},
	{"registry", REGISTRY, 0, "NAME", "show this registry too, as @NAME; may be repeated"},
	{"api_version", TEXT, AT(api_version), "DATE",
	 "api-version of requests (the newest that both know)"},
	{"save_timeout", SECONDS, AT(save_timeout), "SECONDS", "how long a save may take (10)"},
	{"settle", SECONDS, AT(settle), "SECONDS",
	 "how long a draft with a build context is quiet before it is published (1)"},
	{"refresh", SECONDS, AT(refresh), "SECONDS", "how long lists count as fresh (30)"},
	{"timeout", SECONDS, AT(timeout), "SECONDS", "how long one file operation may take (30)"},
	{"max_requests", COUNT, AT(max_requests), "N", "requests under way at once (32)"},
	{"readahead", COUNT, AT(readahead), "N",
	 "environments fetched ahead of a traversal, 0 for none (32)"},
	{"cache_memory", SIZE, AT(cache_memory), "SIZE",
	 "memory for the content of build contexts, with K, M or G (64M)"},
	{"cache_dir", TEXT, AT(cache_dir), "DIR",
	 "where what was read is kept on the disk ($XDG_CACHE_HOME/mlenvfs)"},
	{"cache_size", SIZE, AT(cache_size), "SIZE",
	 "how much of it is kept, with K, M or G; 0 for nothing (1G)"},
	{"store", TEXT, AT(store), "FILE",
	 "the embedded service's file ($XDG_DATA_HOME/mlenvfs/store.db)"},
	{"builder", TEXT, AT(builder), "PROGRAM",
	 "what builds images in it: auto (default), buildah, podman, docker, none or a path"},
	{"anonymous", FLAG, AT(anonymous), NULL, "show anonymous environments"},
	{"delete", DELETE, AT(delete_permanent), "HOW",
	 "what the first rm does: archive (default) or permanent"},
	{"ro", FLAG, AT(ro), NULL, "mount read-only"},
	{"allow_other", FLAG, AT(allow_other), NULL, "other users may look in"},
	{"allow_root", FLAG, AT(allow_root), NULL, "root may look in"},
	{"uid", ID, AT(uid), "UID", "who owns what is shown (the mounting user)"},
	{"gid", ID, AT(gid), "GID", "the group of what is shown"},
	{"log_level", LEVEL, AT(log_level), "LEVEL", "error, warn, info (default) or debug"},
	{"log_file", TEXT, AT(log_file), "FILE",
	 "where the log goes (stderr with -f, else the system log)"},
	{"debug", FLAG, AT(debug), NULL, "log every FUSE operation; implies -f"},
	{"nosuid", KERNEL, 0, NULL, NULL},
	{"nodev", KERNEL, 0, NULL, NULL},
	{"noexec", KERNEL, 0, NULL, NULL},
	{"noatime", KERNEL, 0, NULL, NULL},
	{"suid", KERNEL, 0, NULL, NULL},
	{"dev", KERNEL, 0, NULL, NULL},
	{"exec", KERNEL, 0, NULL, NULL},
	{"atime", KERNEL, 0, NULL, NULL},
	{"rw", IGNORED, 0, NULL, NULL},
	{"auto", IGNORED, 0, NULL, NULL},
	{"noauto", IGNORED, 0, NULL, NULL},
	{"relatime", IGNORED, 0, NULL, NULL},
	{"nodiratime", IGNORED, 0, NULL, NULL},
	{"lazytime", IGNORED, 0, NULL, NULL},
	{"sync", IGNORED, 0, NULL, NULL},
	{"group", IGNORED, 0, NULL, NULL},
	{"user", IGNORED, 0, NULL, NULL},
	{"users", IGNORED, 0, NULL, NULL},
	{"nouser", IGNORED, 0, NULL, NULL},
	{"owner", IGNORED, 0, NULL, NULL},
	{"nofail", IGNORED, 0, NULL, NULL},
	{"_netdev", IGNORED, 0, NULL, NULL},
	{"defaults", IGNORED, 0, NULL, NULL},
	{"async", IGNORED, 0, NULL, NULL},
	{"default_permissions", IGNORED, 0, NULL, NULL},
};

#define N_OPTIONS (sizeof(table) / sizeof(*table))

void options_init(struct options *o)
{
	*o = (struct options){
		.refresh = 30,
		.save_timeout = 10,
		.settle = 1,
		.timeout = 30,
		.max_requests = 32,
		.readahead = 32,
		.cache_memory = UINT64_C(64) << 20,
		.cache_size = UINT64_C(1) << 30,
		.log_level = LOG_LEVEL_INFO,
		.uid = geteuid(),
		.gid = getegid(),
	};
}

void options_clear(struct options *o)
{
	free(o->source);
	free(o->mountpoint);
	free(o->arm_endpoint);
	free(o->api_version);
	free(o->cloud);
	free(o->cafile);
	free(o->store);
	free(o->builder);
	free(o->cache_dir);
	free(o->log_file);
	free(o->kernel);
	for (size_t i = 0; i < o->n_registries; i++)
		free(o->registries[i]);
	*o = (struct options){0};
}

/* ---- values ---- */

static int unknown(const char *name, struct err *e)
{
	const char *names[N_OPTIONS + 1] = {0};
	const char *near;

	for (size_t i = 0; i < N_OPTIONS; i++)
		names[i] = table[i].name;
	near = nearest_word(name, names);
	if (near)
		return err_set(e, -EINVAL, "unknown option '%s': did you mean '%s'?", name, near);
	return err_set(e, -EINVAL, "unknown option '%s': see 'mlenvfs help mount'", name);
}

static int set_text(char **at, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*at);
	*at = copy;
	return 0;
}

static int parse_seconds(const char *value, double *out)
{
	char *end;
	double d;

	errno = 0;
	d = strtod(value, &end);
	if (errno || end == value || *end || !isfinite(d) || d < 0 || d > 1e6)
		return -EINVAL;
	*out = d;
	return 0;
}

static int parse_number(const char *value, uint64_t max, uint64_t *out)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(value, &end, 10);
	if (errno || end == value || *end || value[0] == '-' || n > max)
		return -EINVAL;
	*out = n;
	return 0;
}

int options_size(const char *value, uint64_t *out)
{
	static const char units[] = "KMG";
	char digits[32];
	size_t len = strlen(value);
	const char *unit = len ? strchr(units, value[len - 1] & ~0x20) : NULL;
	int rc;

	if (!len || len >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, value, len + 1);
	if (unit && *unit)
		digits[len - 1] = '\0';
	rc = parse_number(digits, UINT64_C(1) << 30, out);
	if (!rc && unit && *unit)
		*out <<= 10 * (unit - units + 1);
	return rc;
}

static int parse_level(const char *value, enum log_level *out)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcasecmp(value, names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int add_kernel(struct options *o, const char *name)
{
	char *text;
	int n = asprintf(&text, "%s%s%s", o->kernel ? o->kernel : "", o->kernel ? "," : "", name);

	if (n < 0)
		return -ENOMEM;
	free(o->kernel);
	o->kernel = text;
	return 0;
}

static int add_registry(struct options *o, const char *name)
{
	if (o->n_registries == OPTIONS_REGISTRIES_MAX)
		return -E2BIG;
	o->registries[o->n_registries] = strdup(name);
	return o->registries[o->n_registries] ? (o->n_registries++, 0) : -ENOMEM;
}

static int set(struct options *o, const struct option *opt, const char *value)
{
	void *at = (char *)o + opt->at;
	uint64_t number = 0;
	int rc = 0;

	switch (opt->kind) {
	case FLAG:
		*(bool *)at = true;
		break;
	case TEXT:
		return set_text(at, value);
	case SECONDS:
		return parse_seconds(value, at);
	case COUNT:
		rc = parse_number(value, 1024, &number);
		*(unsigned *)at = rc ? *(unsigned *)at : (unsigned)number;
		break;
	case ID:
		rc = parse_number(value, UINT32_MAX - 1, &number);
		*(uid_t *)at = rc ? *(uid_t *)at : (uid_t)number;
		break;
	case SIZE:
		return options_size(value, at);
	case LEVEL:
		return parse_level(value, (enum log_level *)at);
	case REGISTRY:
		return add_registry(o, value);
	case DELETE:
		*(bool *)at = strcmp(value, "permanent") == 0;
		return *(bool *)at || strcmp(value, "archive") == 0 ? 0 : -EINVAL;
	case CREDENTIAL:
		return auth_kind_parse(value, at);
	case KERNEL:
		return add_kernel(o, opt->name);
	case IGNORED:
		break;
	}
	return rc;
}

static int parse_one(struct options *o, char *text, struct err *e)
{
	char *value = strchr(text, '=');
	int rc;

	if (value)
		*value++ = '\0';
	if (strncasecmp(text, "x-", 2) == 0 || strncmp(text, "comment", 7) == 0)
		return 0; /* for mount(8) and systemd */
	for (size_t i = 0; i < N_OPTIONS; i++) {
		const struct option *opt = &table[i];

		if (strcmp(opt->name, text) != 0)
			continue;
		if (opt->arg && (!value || !*value))
			return err_set(e, -EINVAL, "option '%s' needs a value: -o %s=%s", text,
				       text, opt->arg);
		/* mount(8) says who mounts: user=NAME */
		if (!opt->arg && value && opt->kind != IGNORED)
			return err_set(e, -EINVAL, "option '%s' takes no value", text);
		rc = set(o, opt, value ? value : "");
		if (rc)
			return err_set(e, rc, "option '%s=%s' is not valid: %s expected", text,
				       value ? value : "", opt->arg ? opt->arg : "nothing");
		return 0;
	}
	return unknown(text, e);
}

int options_parse(struct options *o, const char *text, struct err *e)
{
	_cleanup_buf_ struct buf one = BUF_INIT(OPTION_TEXT_MAX);
	int rc = 0;

	for (const char *p = text; !rc; p++) {
		if (*p == '\\' && p[1]) {
			buf_addch(&one, *++p);
		} else if (*p && *p != ',') {
			buf_addch(&one, *p);
		} else {
			if (buf_error(&one))
				return err_set(e, buf_error(&one), "the options are too long");
			if (one.len)
				rc = parse_one(o, one.data, e);
			buf_reset(&one);
			if (!*p)
				break;
		}
	}
	if (!rc && o->debug)
		o->foreground = true;
	return rc;
}

void options_help(FILE *to)
{
	for (size_t i = 0; i < N_OPTIONS; i++) {
		char left[64];

		if (!table[i].help)
			continue;
		snprintf(left, sizeof(left), "%s%s%s", table[i].name, table[i].arg ? "=" : "",
			 table[i].arg ? table[i].arg : "");
		fprintf(to, "  -o %-22s %s\n", left, table[i].help);
	}
}

/* ---- SOURCE ---- */

void source_uri_clear(struct source_uri *u)
{
	free(u->subscription);
	free(u->resource_group);
	free(u->workspace);
	free(u->registry);
	*u = (struct source_uri){0};
}

/* Takes "key/value" off *rest: the value (to be freed), or NULL when key does not come next. */
static char *take_pair(const char **rest, const char *key)
{
	size_t n = strlen(key);
	const char *value = *rest + n + 1;
	size_t len;

	if (strncasecmp(*rest, key, n) != 0 || (*rest)[n] != '/')
		return NULL;
	len = strcspn(value, "/");
	if (!len)
		return NULL;
	*rest = value + len;
	if (**rest == '/')
		(*rest)++;
	return strndup(value, len);
}

static int bad_source(const char *text, struct err *e)
{
	return err_set(e, -EINVAL,
		       "'%s' is not a source: use azureml://subscriptions/ID[/resourceGroups/GROUP"
		       "[/workspaces/NAME]], azureml://registries/NAME, 'azure' for what is set "
		       "elsewhere, or 'embedded'",
		       text);
}

int source_uri_parse(const char *text, struct source_uri *out, struct err *e)
{
	static const char scheme[] = "azureml://";
	const char *rest;

	*out = (struct source_uri){0};
	if (!text || strcmp(text, "embedded") == 0 || strcmp(text, "none") == 0) {
		out->embedded = true;
		return 0;
	}
	if (strcmp(text, "azure") == 0) {
		out->azure = true;
		return 0;
	}
	if (strncasecmp(text, scheme, strlen(scheme)) != 0)
		return bad_source(text, e);
	rest = text + strlen(scheme);
	out->registry = take_pair(&rest, "registries");
	if (!out->registry) {
		out->subscription = take_pair(&rest, "subscriptions");
		if (out->subscription)
			out->resource_group = take_pair(&rest, "resourceGroups");
		if (out->resource_group)
			out->workspace = take_pair(&rest, "workspaces");
	}
	if (*rest || (!out->registry && !out->subscription)) {
		source_uri_clear(out);
		return bad_source(text, e);
	}
	return 0;
}
