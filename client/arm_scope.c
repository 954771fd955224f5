#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/log.h"

struct scopes {
	struct arm *arm;
	struct records found;
};

static void scopes_clear(struct scopes *s)
{
	for (size_t i = 0; i < s->found.n; i++)
		scope_unref(s->found.items[i]);
	free(s->found.items);
	s->found = (struct records){0};
}

static int scopes_add(struct scopes *s, struct scope *scope, struct err *e)
{
	int rc = records_add(&s->found, scope);

	if (rc) {
		scope_unref(scope);
		return err_set(e, rc, "the list of workspaces can't be held");
	}
	return 0;
}

static int on_workspace(void *arg, const cJSON *item, struct err *e)
{
	struct scopes *s = arg;
	struct scope *scope = NULL;
	int rc = asset_json_workspace(item, &scope, e);

	return rc ? rc : scopes_add(s, scope, e);
}

static int workspace_url(const struct arm *a, struct buf *url, const char *group,
			 const char *workspace)
{
	buf_addf(url, "%s/subscriptions", a->endpoint);
	arm_add_segment(url, a->subscription);
	if (group) {
		buf_addstr(url, "/resourceGroups");
		arm_add_segment(url, group);
	}
	buf_addstr(url, "/" ARM_PROVIDER "/workspaces");
	arm_add_segment(url, workspace);
	return arm_add_version(a, url, NULL);
}

static int list_workspaces(struct scopes *s, struct call *c, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm *a = s->arm;
	struct scope *scope = NULL;
	cJSON *json = NULL;
	int rc = workspace_url(a, &url, a->resource_group, a->workspace);

	if (rc)
		return err_set(e, rc, "the workspaces' URL is too long");
	if (!a->workspace)
		return arm_list(a, buf_str(&url), c, on_workspace, s, e);
	rc = arm_get(a, buf_str(&url), c, &json, e);
	if (!rc)
		rc = asset_json_workspace(json, &scope, e);
	cJSON_Delete(json);
	return rc ? rc : scopes_add(s, scope, e);
}

static bool has_registry(const struct scopes *s, const char *name)
{
	for (size_t i = 0; i < s->found.n; i++) {
		const struct scope *scope = s->found.items[i];

		if (scope->kind == SCOPE_REGISTRY && strcmp(scope->name, name) == 0)
			return true;
	}
	return false;
}

/*
 * What one registry does wrong is no reason to hide the others and the workspaces, unless it is
 * the call itself that has ended.
 */
static int list_named_registries(struct scopes *s, struct call *c, struct err *e)
{
	struct arm *a = s->arm;

	for (size_t i = 0; i < a->n_registries; i++) {
		struct scope *scope = NULL;
		struct err why = ERR_INIT;
		int rc = registry_find(a, a->registries[i], c, &scope, &why);

		if (!rc)
			rc = scopes_add(s, scope, &why);
		if (rc == -ENOENT || rc == -EACCES || rc == -EBADMSG || rc == -EINVAL)
			log_warn("op=discovery registry=%s msg=\"left out: %s\"", a->registries[i],
				 err_text(&why, rc));
		else if (rc)
			return err_set(e, rc, "%s", err_text(&why, rc));
	}
	return 0;
}

/* ARM's own list of registries adds those that were not named. */
static int list_own_registries(struct scopes *s, struct call *c, struct err *e)
{
	struct records own = {0};
	struct err why = ERR_INIT;
	int rc = registry_list(s->arm, c, &own, &why);

	for (size_t i = 0; i < own.n; i++) {
		struct scope *scope = own.items[i];

		if (rc || has_registry(s, scope->name))
			scope_unref(scope);
		else
			rc = scopes_add(s, scope, &why);
	}
	free(own.items);
	if (rc == -ENOENT || rc == -EACCES) {
		log_warn("op=registries msg=\"%s\"", err_text(&why, rc));
		return 0;
	}
	return rc ? err_set(e, rc, "%s", err_text(&why, rc)) : 0;
}

int arm_list_scopes(struct source *source, struct call *c, struct scope_list **out, struct err *e)
{
	struct scopes s = {.arm = arm_of(source)};
	int rc = 0;

	*out = NULL;
	if (s.arm->subscription)
		rc = list_workspaces(&s, c, e);
	if (!rc)
		rc = list_named_registries(&s, c, e);
	if (!rc && s.arm->subscription && s.arm->list_registries)
		rc = list_own_registries(&s, c, e);
	if (!rc) {
		*out = scope_list_take((struct scope **)s.found.items, s.found.n);
		s.found.n = 0; /* taken, even when that failed */
		if (!*out)
			rc = err_set(e, -ENOMEM, "no memory for the list of workspaces");
	}
	scopes_clear(&s);
	return rc;
}

/* The service's rule: a letter or digit, then 2 to 32 of those and "-_". */
static bool is_workspace_name(const char *name)
{
	static const char first[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t n = strlen(name);
	size_t ok = strspn(name, "-_abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");

	return n >= 3 && n <= 33 && ok == n && strchr(first, name[0]);
}

int arm_create_workspace(struct source *source, const char *name, struct call *c,
			 struct scope **out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm *a = arm_of(source);
	struct arm_call q = {.method = "PUT", .body = "{\"location\":\"local\"}"};
	cJSON *json = NULL;
	int rc;

	*out = NULL;
	if (!a->create_group || !a->subscription)
		return err_set(e, -EPERM,
			       "workspaces can't be made here: make them in Azure, with its portal "
			       "or `az ml workspace create`");
	if (!is_workspace_name(name))
		return err_set(e, -EINVAL,
			       "a workspace's name has 3 to 33 letters, digits, '-' and '_', and "
			       "begins with a letter or digit");
	rc = workspace_url(a, &url, a->create_group, name);
	if (rc)
		return err_set(e, rc, "the workspace's URL is too long");
	q.url = buf_str(&url);
	rc = arm_json(a, &q, c, &json, e);
	if (!rc)
		rc = asset_json_workspace(json, out, e);
	cJSON_Delete(json);
	return rc;
}
