#include "client/azure_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "client/asset_json.h"
#include "client/buf.h"
#include "client/cleanup.h"

static int read_file(const char *path, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int rc;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return -ENOENT;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -EBADMSG, "%s can't be read: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	rc = buf_read(out, fd);
	if (rc)
		return err_set(e, -EBADMSG, "%s can't be read: %s", path,
			       rc == -EFBIG ? "it is too large" : strerror(-rc));
	return 0;
}

static int join(char **out, const char *dir, const char *name)
{
	if (asprintf(out, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name) >= 0)
		return 0;
	*out = NULL;
	return -ENOMEM;
}

static int read_json(const char *path, cJSON **out, struct err *e)
{
	static const char bom[] = "\xef\xbb\xbf";
	_cleanup_buf_ struct buf data = BUF_INIT(AZURE_FILE_MAX);
	const char *text;
	size_t skip;
	int rc = read_file(path, &data, e);

	*out = NULL;
	if (rc)
		return rc;
	text = buf_str(&data);
	skip = strncmp(text, bom, 3) == 0 ? 3 : 0;
	rc = asset_json_parse(text + skip, data.len - skip, out, e);
	if (!rc && !cJSON_IsObject(*out)) {
		cJSON_Delete(*out);
		*out = NULL;
		rc = err_set(e, -EBADMSG, "not an object");
	}
	return rc ? err_prefix(e, rc, "%s: ", path) : 0;
}

/* A copy of a member that is a text; NULL when it is none or empty. */
static char *copy_member(const cJSON *json, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

	return text && *text ? strdup(text) : NULL;
}

/* ---- the CLI's configuration ---- */

static char *trim(char *text)
{
	size_t n;

	text += strspn(text, " \t\r");
	n = strlen(text);
	while (n && strchr(" \t\r", text[n - 1]))
		text[--n] = '\0';
	return text;
}

/* Python's configparser: keys in any case, '=' or ':', comments on lines of their own. */
static bool is_key(char *line, const char *key, char **value)
{
	size_t n = strcspn(line, "=:");

	if (!line[n] || *line == '#' || *line == ';')
		return false;
	line[n] = '\0';
	*value = trim(line + n + 1);
	return strcasecmp(trim(line), key) == 0;
}

static int find_value(char *text, const char *section, const char *key, char **out)
{
	char *save = NULL, *value;
	bool within = false;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line = trim(line);
		if (*line == '[') {
			line[strcspn(line, "]")] = '\0';
			within = strcmp(line + 1, section) == 0;
		} else if (within && is_key(line, key, &value) && *value) {
			*out = strdup(value);
			return *out ? 0 : -ENOMEM;
		}
	}
	return -ENOENT;
}

int azure_cli_config(const char *dir, const char *section, const char *key, char **out,
		     struct err *e)
{
	_cleanup_buf_ struct buf data = BUF_INIT(AZURE_FILE_MAX);
	_cleanup_free_ char *path = NULL;
	int rc = join(&path, dir, "config");

	*out = NULL;
	if (!rc)
		rc = read_file(path, &data, e);
	if (!rc && !data.len)
		rc = -ENOENT;
	return rc ? rc : find_value(data.data, section, key, out);
}

/* ---- the CLI's profile ---- */

void azure_subscription_clear(struct azure_subscription *s)
{
	free(s->id);
	free(s->tenant);
	free(s->cloud);
	*s = (struct azure_subscription){0};
}

static bool is_meant(const cJSON *item, const char *id)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "id"));

	if (!text)
		return false;
	if (id)
		return strcasecmp(text, id) == 0;
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "isDefault"));
}

int azure_cli_subscription(const char *dir, const char *id, struct azure_subscription *out,
			   struct err *e)
{
	_cleanup_free_ char *path = NULL;
	cJSON *json = NULL;
	const cJSON *item;
	int rc = join(&path, dir, "azureProfile.json");

	*out = (struct azure_subscription){0};
	if (!rc)
		rc = read_json(path, &json, e);
	if (rc)
		return rc;
	rc = -ENOENT;
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "subscriptions")) {
		if (rc != -ENOENT || !is_meant(item, id))
			continue;
		out->id = copy_member(item, "id");
		out->tenant = copy_member(item, "tenantId");
		out->cloud = copy_member(item, "environmentName");
		rc = out->id ? 0 : -ENOMEM;
	}
	cJSON_Delete(json);
	return rc;
}

/* ---- config.json ---- */

void ml_config_clear(struct ml_config *c)
{
	free(c->path);
	free(c->subscription);
	free(c->resource_group);
	free(c->workspace);
	*c = (struct ml_config){0};
}

/* The older form: {"Scope": "/subscriptions/S/resourceGroups/G/providers/P/workspaces/W"}. */
static int from_scope(char *scope, struct ml_config *out)
{
	char *parts[9] = {0}, *rest = scope;

	for (size_t i = 0; i < 9 && rest; i++)
		parts[i] = strsep(&rest, "/");
	if (!parts[8] || !*parts[2] || !*parts[4] || !*parts[8])
		return -EBADMSG;
	out->subscription = strdup(parts[2]);
	out->resource_group = strdup(parts[4]);
	out->workspace = strdup(parts[8]);
	return 0;
}

static int read_ml_config(const char *path, struct ml_config *out, struct err *e)
{
	_cleanup_free_ char *scope = NULL;
	cJSON *json = NULL;
	int rc = read_json(path, &json, e);

	if (rc)
		return rc;
	scope = copy_member(json, "Scope");
	if (scope) {
		rc = from_scope(scope, out);
	} else {
		out->subscription = copy_member(json, "subscription_id");
		out->resource_group = copy_member(json, "resource_group");
		out->workspace = copy_member(json, "workspace_name");
	}
	cJSON_Delete(json);
	if (rc || !out->subscription || !out->resource_group || !out->workspace)
		return err_set(e, -EBADMSG,
			       "%s does not name subscription_id, resource_group and "
			       "workspace_name",
			       path);
	out->path = strdup(path);
	return out->path ? 0 : -ENOMEM;
}

/* dir/folder/name; folder may be "". */
static int try_one(const char *dir, const char *folder, const char *name, struct ml_config *out,
		   struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int rc;

	if (asprintf(&path, "%s/%s%s%s", strcmp(dir, "/") == 0 ? "" : dir, folder,
		     *folder ? "/" : "", name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	rc = read_ml_config(path, out, e);
	if (rc)
		ml_config_clear(out);
	return rc;
}

static int search_upward(const char *start, const char *folder, const char *name,
			 struct ml_config *out, struct err *e)
{
	_cleanup_free_ char *dir = strdup(start);
	int rc = dir ? -ENOENT : -ENOMEM;

	for (int level = 0; rc == -ENOENT && level <= ML_CONFIG_LEVELS; level++) {
		char *slash;

		rc = try_one(dir, folder, name, out, e);
		slash = strrchr(dir, '/');
		if (!slash || strcmp(dir, "/") == 0)
			break;
		slash[slash == dir ? 1 : 0] = '\0';
	}
	return rc;
}

int ml_config_find(const char *start, struct ml_config *out, struct err *e)
{
	static const char *const folders[] = {".azureml", "aml_config", ""};
	static const char *const names[] = {"config.json", "project.json"};
	int rc = -ENOENT;

	*out = (struct ml_config){0};
	for (size_t i = 0; i < 3 && rc == -ENOENT; i++)
		for (size_t j = 0; j < 2 && rc == -ENOENT; j++) {
			/* Any program may have a config.json in the open; only ours counts. */
			rc = search_upward(start, folders[i], names[j], out, e);
			if (rc == -EBADMSG && !*folders[i])
				rc = -ENOENT;
		}
	return rc;
}
