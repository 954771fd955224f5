/*
 * arm_int - what the parts of the Azure source share: arm.c (its life), arm_request.c (one JSON
 * request), arm_list.c (pages), arm_error.c (error bodies), arm_scope.c and arm_registry.c
 * (workspaces and registries), arm_versions.c (environments and versions), arm_complete.c (items
 * that lists leave without content), arm_put.c (registering), arm_change.c (changing and deleting),
 * arm_edit.c (a change of a resource's JSON), arm_operation.c (operations that take a while),
 * datastore.c (who may read which container), context.c (build contexts), arm_image.c and arm_log.c
 * (builds of images, and their logs).
 */
#ifndef MLENVFS_CLIENT_ARM_INT_H
#define MLENVFS_CLIENT_ARM_INT_H

#include <cjson/cJSON.h>
#include <pthread.h>

#include "client/apiversion.h"
#include "client/arm.h"
#include "client/http.h"
#include "client/image.h"
#include "client/url.h"

enum {
	ARM_PAGES_MAX = 10000,          /* pages of one list */
	ARM_BODY_MAX = 8 * 1024 * 1024, /* bytes of a request body */
};

#define ARM_DATA_PLANE_VERSION "2021-10-01-dataplanepreview"
#define ARM_PROVIDER           "providers/Microsoft.MachineLearningServices"
#define ARM_CURATED_REGISTRY   "azureml"

struct datastores;
struct completions;
struct limiter;
struct operations;
struct registries;
struct regions;
struct image_logs;
struct turns;

struct arm {
	struct source source;
	struct http *http;
	struct credential *credential;
	struct url origin; /* of the endpoint */
	char *endpoint;    /* without a slash at the end */
	char *subscription;
	char *resource_group;
	char *workspace;
	char **registries;
	size_t n_registries;
	bool list_registries;
	char *create_group;
	char *discovery_host;
	struct apiversion *api_version;
	struct limiter *limiter;
	struct operations *operations;
	struct datastores *datastores;       /* datastore.c */
	struct completions *completions;     /* arm_complete.c */
	struct registries *known_registries; /* arm_registry.c */
	struct regions *regions;             /* arm_image.c */
	struct image_logs *image_logs;       /* arm_log.c */
	struct turns *turns;                 /* one write at a time for one URL */
	int64_t backoff;                     /* ns before a change is tried again */
};

static inline struct arm *arm_of(struct source *s)
{
	return (struct arm *)s;
}

/* ---- arm_request.c ---- */

/* Appends the URL of a scope, up to and without the slash behind its name. */
int arm_add_scope_url(const struct arm *a, struct buf *b, const struct scope *s);

/* Appends "/segment", encoded; NULL: nothing. */
int arm_add_segment(struct buf *b, const char *segment);

/* Appends "?api-version=..." as the scope's plane wants it; scope NULL: the ARM endpoint's. */
int arm_add_version(const struct arm *a, struct buf *b, const struct scope *s);

/*
 * True when our bearer token may go to this URL: the endpoint itself, or anything over TLS that
 * the service named (a registry's host). Plain http elsewhere is refused.
 */
bool arm_may_ask(const struct arm *a, const struct url *u);

/* A request with a bearer token (of scope SCOPE_*), whatever its answer: http_perform(). */
struct arm_call {
	const char *method;
	const char *url;
	const char *body; /* JSON, or NULL */
	bool repeatable;  /* these three: see struct http_request */
	bool once;
	const char *id;
};
int arm_perform(struct arm *a, const struct arm_call *q, struct call *c, struct http_response *out,
		struct err *e);

/*
 * The same, and the answer's JSON (*json, the caller's, cJSON_Delete()). An error status is the
 * errno of http_status_errno() with the service's words.
 */
int arm_json(struct arm *a, const struct arm_call *q, struct call *c, cJSON **json, struct err *e);
int arm_get(struct arm *a, const char *url, struct call *c, cJSON **json, struct err *e);

/* ---- arm_error.c ---- */

/* Describes an answer that is an error, in the service's words; returns its errno. */
int arm_error(const char *method, const char *url, const struct http_response *r, struct err *e);

/* Appends "code: message" of an ARM or a storage error body, bounded; nothing when it is none. */
void arm_error_words(const struct http_response *r, struct buf *b);

/* ---- arm_list.c ---- */

/*
 * One item of a list. 0, or a negative errno: -ENOMEM and -EFBIG end the list, others mean that
 * the item is broken: it is left out, and the log says so.
 */
typedef int arm_item_fn(void *arg, const cJSON *item, struct err *e);

/* Calls fn for every item of every page, beginning at url. */
int arm_list(struct arm *a, const char *url, struct call *c, arm_item_fn *fn, void *arg,
	     struct err *e);

/* A growing array of records, at most ASSET_LIST_MAX. */
struct records {
	void **items;
	size_t n;
	size_t cap;
};
int records_add(struct records *r, void *record);

/* ---- arm_scope.c, arm_registry.c ---- */

int arm_list_scopes(struct source *s, struct call *c, struct scope_list **out, struct err *e);
int arm_create_workspace(struct source *s, const char *name, struct call *c, struct scope **out,
			 struct err *e);

int registries_new(struct registries **out);
void registries_free(struct registries *r);

/* A registry by name, through discovery; asked for once an hour. */
int registry_find(struct arm *a, const char *name, struct call *c, struct scope **out,
		  struct err *e);

/* The registries that ARM lists for the subscription. */
int registry_list(struct arm *a, struct call *c, struct records *found, struct err *e);

/* ---- arm_versions.c, arm_complete.c ---- */

int arm_list_envs(struct source *s, struct scope *scope, struct call *c, struct env_list **out,
		  struct err *e);
int arm_list_versions(struct source *s, struct scope *scope, const char *env, struct call *c,
		      struct version_list **out, struct err *e);
int arm_get_version(struct source *s, struct scope *scope, const char *env, const char *version,
		    struct call *c, struct version **out, struct err *e);

/* Appends the URL of a version (version NULL: of the list of them), without its query. */
int arm_add_version_url(const struct arm *a, struct buf *b, const struct scope *s, const char *env,
			const char *version);

/* The version as the service has it now, not completed. */
int arm_fetch_version(struct arm *a, struct scope *scope, const char *env, const char *version,
		      struct call *c, struct version **out, struct err *e);

int completions_new(struct completions **out);
void completions_free(struct completions *c);

/*
 * Replaces *v, when it has neither image nor build, by one that has: as its own GET gives it
 * (ask_itself), else as the registry of curated environments has it. What can't be had leaves *v
 * as it is; only errors that would hit every request are returned.
 */
int arm_complete(struct arm *a, struct scope *scope, struct version **v, bool ask_itself,
		 struct call *c, struct err *e);

/* ---- arm_put.c ---- */

/* What the service does in its own time, and how to see for ourselves whether it is done. */
struct arm_work {
	const char *verb;       /* "register" */
	const char *participle; /* "registered" */
	const char *env;
	const char *version;  /* NULL: the environment itself */
	const char *resource; /* what it is remembered by when time is up; NULL: it is not */
	int (*look)(struct arm *a, struct scope *scope, const struct arm_work *w, struct call *c,
		    bool *done, struct err *e);
};

int arm_put_version(struct source *s, struct scope *scope, const struct version *v, struct call *c,
		    struct version **out, struct err *e);

/* The registration of a version, whose URL without a query is resource (all borrowed). */
struct arm_work arm_registering(const char *env, const char *version, const char *resource);

/* ---- arm_operation.c ---- */

/* True when an answer says that the work is not done yet. */
bool arm_is_accepted(const struct http_response *r);

/*
 * Waits until what that answer began is done. The operation is asked where the answer says, when
 * that is a place our token may go to; else w->look() looks. -EIO with the service's words when it
 * failed, -EINPROGRESS when it is not done in time.
 */
int arm_work_wait(struct arm *a, struct scope *scope, const struct arm_work *w,
		  const struct http_response *accepted, struct call *c, struct err *e);

/*
 * Whether such work on w->resource is under way that somebody had no time to wait for: 0 none is
 * known, 1 it has ended now, -EINPROGRESS (or what kept us from asking) when it goes on.
 */
int arm_operation_look(struct arm *a, struct scope *scope, const struct arm_work *w, struct call *c,
		       struct err *e);

/* ---- arm_about.c ---- */

int arm_about(struct source *s, cJSON **out);

/* ---- arm_operation.c ---- */

/*
 * True when our token may follow an operation to that URL: to where the endpoint, the registry or
 * Azure ML's regional services are, and nowhere else.
 */
bool arm_may_poll(const struct arm *a, const struct scope *scope, const char *url);

/* ---- arm_edit.c ---- */

/*
 * Applies the change to a resource (an environment, too, which has these members in common with a
 * version). *differs says whether it says something else now. first: the tags' conditions count.
 * -EEXIST, -ENODATA, -EINVAL, -EFBIG, -EBADMSG, -ENOMEM.
 */
int arm_edit(cJSON *resource, const struct version_change *change, bool first, bool *differs,
	     struct err *e);

/* True when both resources say the same in what arm_edit() can change. */
bool arm_edit_agrees(const cJSON *a, const cJSON *b);

/*
 * The body of a PUT: {"properties": ...} taken out of the resource, without the members that only
 * the service sets. NULL when memory ran out. Free with free().
 */
char *arm_edit_body(const cJSON *resource);

/* ---- arm_change.c ---- */

int arm_update_version(struct source *s, struct scope *scope, const char *env, const char *version,
		       const struct version_change *change, struct call *c, struct version **out,
		       struct err *e);
int arm_update_env(struct source *s, struct scope *scope, const char *env, bool archived,
		   struct call *c, struct env **out, struct err *e);
int arm_delete_version(struct source *s, struct scope *scope, const char *env, const char *version,
		       struct call *c, struct err *e);
int arm_delete_env(struct source *s, struct scope *scope, const char *env, struct call *c,
		   struct err *e);

/* ---- arm_image.c, arm_log.c ---- */

int arm_start_build(struct source *source, struct scope *scope, const char *env,
		    const char *version, struct call *c, char **location, struct err *e);
int arm_get_build(struct source *source, struct scope *scope, const char *location, struct call *c,
		  struct image_build *out, struct err *e);
int arm_cancel_build(struct source *source, struct scope *scope, const char *location,
		     struct call *c, struct err *e);
int arm_get_image(struct source *source, struct scope *scope, const struct version *v,
		  struct call *c, struct image *out, struct err *e);
int arm_read_log(struct source *source, struct scope *scope, const char *log, uint64_t offset,
		 size_t len, struct call *c, struct buf *out, uint64_t *size, struct err *e);
int arm_find_log(struct source *source, struct scope *scope, const struct version *v,
		 struct call *c, char **log, struct err *e);
int arm_expect_logs(struct source *source, struct scope *scope, struct call *c, struct err *e);
int64_t arm_no_log(struct source *source, struct scope *scope, const struct version *v);

/* Where the regional services of workspaces are. */
int regions_new(struct regions **out);
void regions_free(struct regions *r); /* NULL is allowed */

/* The logs that are to be found in workspaces. */
int image_logs_new(struct image_logs **out);
void image_logs_free(struct image_logs *l); /* NULL is allowed */

/* ---- context.c ---- */

int arm_list_context(struct source *s, struct scope *scope, struct version *v, struct call *c,
		     struct context **out, struct err *e);
int arm_read_context(struct source *s, struct scope *scope, struct context *ctx,
		     const struct context_file *file, uint64_t offset, size_t len, struct call *c,
		     struct buf *out, struct err *e);
int arm_upload_context(struct source *s, struct scope *scope, const char *env, const char *version,
		       const struct upload_file *files, size_t n, struct call *c, char **uri_steal,
		       struct err *e);

#endif
