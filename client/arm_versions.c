#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/operations.h"

/* ---- environments ---- */

static int on_env(void *arg, const cJSON *item, struct err *e)
{
	struct records *found = arg;
	struct env *env = NULL;
	int rc = asset_json_env(item, &env, e);

	if (!rc)
		rc = records_add(found, env);
	if (rc)
		env_unref(env);
	return rc;
}

static int envs_url(const struct arm *a, struct buf *url, const struct scope *scope)
{
	arm_add_scope_url(a, url, scope);
	buf_addstr(url, "/environments");
	arm_add_version(a, url, scope);
	return buf_addstr(url, "&listViewType=All");
}

int arm_list_envs(struct source *source, struct scope *scope, struct call *c, struct env_list **out,
		  struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm *a = arm_of(source);
	struct records found = {0};
	int rc = envs_url(a, &url, scope);

	*out = NULL;
	if (rc)
		return err_set(e, rc, "the environments' URL is too long");
	rc = arm_list(a, buf_str(&url), c, on_env, &found, e);
	if (rc) {
		for (size_t i = 0; i < found.n; i++)
			env_unref(found.items[i]);
	} else {
		*out = env_list_take((struct env **)found.items, found.n);
		if (!*out)
			rc = err_set(e, -ENOMEM, "no memory for the list of environments");
	}
	free(found.items);
	return rc;
}

/* ---- versions ---- */

int arm_add_version_url(const struct arm *a, struct buf *b, const struct scope *s, const char *env,
			const char *version)
{
	arm_add_scope_url(a, b, s);
	buf_addstr(b, "/environments");
	arm_add_segment(b, env);
	buf_addstr(b, "/versions");
	return arm_add_segment(b, version);
}

struct versions {
	const char *env;
	bool ready; /* only those that can be used: registries show others, too */
	struct records found;
};

static int on_version(void *arg, const cJSON *item, struct err *e)
{
	struct versions *l = arg;
	struct version *v = NULL;
	int rc = asset_json_version(item, l->env, &v, e);

	if (!rc && l->ready && (version_is_unfinished(v) || version_has_failed(v))) {
		version_unref(v);
		return 0;
	}
	if (!rc)
		rc = records_add(&l->found, v);
	if (rc)
		version_unref(v);
	return rc;
}

static int complete_all(struct arm *a, struct scope *scope, struct versions *l, struct call *c,
			struct err *e)
{
	for (size_t i = 0; i < l->found.n; i++) {
		struct version *v = l->found.items[i];
		int rc = arm_complete(a, scope, &v, true, c, e);

		l->found.items[i] = v;
		if (rc)
			return rc;
	}
	return 0;
}

static int list_url(const struct arm *a, struct buf *url, const struct scope *scope,
		    const char *env)
{
	arm_add_version_url(a, url, scope, env, NULL);
	arm_add_version(a, url, scope);
	return buf_addstr(url, "&listViewType=All");
}

int arm_list_versions(struct source *source, struct scope *scope, const char *env, struct call *c,
		      struct version_list **out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	struct arm *a = arm_of(source);
	struct versions l = {.env = env, .ready = scope->kind == SCOPE_REGISTRY};
	int rc = list_url(a, &url, scope, env);

	*out = NULL;
	if (rc)
		return err_set(e, rc, "the versions' URL is too long");
	rc = arm_list(a, buf_str(&url), c, on_version, &l, e);
	if (!rc)
		rc = complete_all(a, scope, &l, c, e);
	if (rc) {
		for (size_t i = 0; i < l.found.n; i++)
			version_unref(l.found.items[i]);
	} else {
		*out = version_list_take((struct version **)l.found.items, l.found.n);
		if (!*out)
			rc = err_set(e, -ENOMEM, "no memory for the list of versions");
	}
	free(l.found.items);
	return rc;
}

int arm_fetch_version(struct arm *a, struct scope *scope, const char *env, const char *version,
		      struct call *c, struct version **out, struct err *e)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	cJSON *json = NULL;
	int rc;

	*out = NULL;
	arm_add_version_url(a, &url, scope, env, version);
	rc = arm_add_version(a, &url, scope);
	if (rc)
		return err_set(e, rc, "the version's URL is too long");
	rc = arm_get(a, buf_str(&url), c, &json, e);
	if (!rc)
		rc = asset_json_version(json, env, out, e);
	cJSON_Delete(json);
	return rc;
}

/*
 * A version that is not there may be one that the service has accepted and is still registering:
 * whether it shows such versions is not known. One that is there and ready needs no looking up any
 * more. rc is how fetching it ended.
 */
static int look_whether_registered(struct arm *a, struct scope *scope, const char *env,
				   const char *version, struct call *c, int rc,
				   struct version **out, struct err *e)
{
	_cleanup_buf_ struct buf resource = BUF_INIT(URL_MAX);
	struct arm_work work;
	struct err why = ERR_INIT;

	if (arm_add_version_url(a, &resource, scope, env, version))
		return err_set(e, buf_error(&resource), "the version's URL is too long");
	if (!rc && !version_is_unfinished(*out))
		operations_forget(a->operations, buf_str(&resource));
	if (rc != -ENOENT)
		return rc;
	work = arm_registering(env, version, buf_str(&resource));
	rc = arm_operation_look(a, scope, &work, c, &why);
	if (rc < 0)
		return err_set(e, rc, "%s", err_text(&why, rc));
	return rc ? arm_fetch_version(a, scope, env, version, c, out, e) : -ENOENT;
}

int arm_get_version(struct source *source, struct scope *scope, const char *env,
		    const char *version, struct call *c, struct version **out, struct err *e)
{
	struct arm *a = arm_of(source);
	int rc = arm_fetch_version(a, scope, env, version, c, out, e);

	rc = look_whether_registered(a, scope, env, version, c, rc, out, e);
	if (!rc)
		rc = arm_complete(a, scope, out, false, c, e);
	if (rc) {
		version_unref(*out);
		*out = NULL;
	}
	return rc;
}
