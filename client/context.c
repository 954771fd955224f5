/*
 * Build contexts of the source: a place and the access to it are found, then blob.h does the rest.
 * An access that is refused is asked for anew, once: keys are rotated and signatures run out.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/blob_upload.h"
#include "client/cleanup.h"
#include "client/context_hash.h"
#include "client/datastore.h"

/* Work on a place that an access opens. */
struct visit {
	struct arm *arm;
	struct scope *scope;
	struct call *call;
	const char *uri; /* of the context; NULL when uploading */
	struct blob_place place;
	int (*work)(struct visit *v, const struct blob_access *access, struct err *e);

	/* list */
	struct context **listed;

	/* read */
	const struct context_file *file;
	uint64_t offset;
	size_t len;
	struct buf *out;

	/* upload */
	struct blob_upload *upload;
	const char *folder;
	const char *legacy;
	const char *used;
};

static int visit_access(struct visit *v, bool fresh, struct blob_access *access, struct err *e)
{
	if (v->uri && v->scope->kind == SCOPE_REGISTRY)
		return dataref_access(v->arm, v->scope, v->uri, &v->place, fresh, v->call, access,
				      e);
	return datastore_access(v->arm, v->scope, &v->place, fresh, v->call, access, e);
}

static int visit(struct visit *v, struct err *e)
{
	for (int attempt = 0;; attempt++) {
		_cleanup_access_ struct blob_access access = {0};
		int rc = visit_access(v, attempt > 0, &access, e);

		if (rc)
			return rc;
		rc = v->work(v, &access, e);
		if (rc != -EACCES || attempt || !access.secret)
			return rc;
		err_clear(e);
	}
}

/* ---- listing ---- */

static int list_work(struct visit *v, const struct blob_access *access, struct err *e)
{
	return blob_list(v->arm->http, &v->place, access, v->uri, v->call, v->listed, e);
}

static int context_with_note(const char *uri, const char *note, struct context **out, struct err *e)
{
	struct context fields = {.uri = uri, .note = note};

	*out = context_new(&fields);
	return *out ? 0 : err_set(e, -ENOMEM, "no memory for a build context");
}

int arm_list_context(struct source *source, struct scope *scope, struct version *version,
		     struct call *c, struct context **out, struct err *e)
{
	struct visit v = {.arm = arm_of(source),
			  .scope = scope,
			  .call = c,
			  .uri = version->context_uri,
			  .work = list_work,
			  .listed = out};
	int rc = 0;

	*out = NULL;
	if (!version->context_uri)
		return err_set(e, -EINVAL, "%s:%s has no build context", version->env,
			       version->version);
	if (!version_context_has_files(version))
		return context_with_note(version->context_uri,
					 "The build context is not in a storage container but "
					 "somewhere else, a git repository perhaps.",
					 out, e);
	rc = blob_place_parse(version->context_uri, &v.arm->origin, &v.place, NULL);
	if (rc == -EBADMSG)
		return context_with_note(version->context_uri,
					 "The build context is at an address that is no folder of "
					 "a storage container.",
					 out, e);
	if (rc)
		return err_set(e, rc, "no memory for a build context");
	if (scope->kind == SCOPE_REGISTRY)
		rc = dataref_remember(v.arm, version->context_uri, version->env, version->version,
				      e);
	if (!rc)
		rc = visit(&v, e);
	blob_place_clear(&v.place);
	return rc;
}

/* ---- reading ---- */

static int read_work(struct visit *v, const struct blob_access *access, struct err *e)
{
	return blob_read(v->arm->http, &v->place, access, v->file, v->offset, v->len, v->call,
			 v->out, e);
}

int arm_read_context(struct source *source, struct scope *scope, struct context *ctx,
		     const struct context_file *file, uint64_t offset, size_t len, struct call *c,
		     struct buf *out, struct err *e)
{
	struct visit v = {.arm = arm_of(source),
			  .scope = scope,
			  .call = c,
			  .uri = ctx->uri,
			  .work = read_work,
			  .file = file,
			  .offset = offset,
			  .len = len,
			  .out = out};
	int rc = blob_place_parse(ctx->uri, &v.arm->origin, &v.place, e);

	if (rc)
		return rc;
	rc = visit(&v, e);
	blob_place_clear(&v.place);
	return rc;
}

/* ---- uploading ---- */

static int upload_work(struct visit *v, const struct blob_access *access, struct err *e)
{
	v->upload->access = access;
	return blob_upload(v->upload, v->folder, v->legacy, &v->used, e);
}

static int give_uri(const struct blob_place *place, const char *folder, char **uri_steal,
		    struct err *e)
{
	struct buf uri = BUF_INIT(URL_MAX);
	int rc = blob_add_url(&uri, place, folder);

	if (!rc) {
		*uri_steal = buf_steal(&uri, NULL);
		rc = *uri_steal ? 0 : -ENOMEM;
	}
	buf_free(&uri);
	return rc ? err_set(e, rc, "the build context's address can't be held") : 0;
}

/* LocalUpload/{hash}/context/, the place that content of this kind has in every workspace. */
static int upload_to_workspace(struct visit *v, char **uri_steal, struct err *e)
{
	char hash[CONTEXT_HASH_SIZE], folder[128], legacy[128];
	int rc = context_hash(v->upload->files, v->upload->n, hash, e);

	if (!rc)
		rc = datastore_upload_place(v->arm, v->scope, v->call, &v->place, e);
	if (rc)
		return rc;
	snprintf(folder, sizeof(folder), "LocalUpload/%s/" BLOB_CONTEXT_DIR "/", hash);
	snprintf(legacy, sizeof(legacy), "az-ml-artifacts/%s/" BLOB_CONTEXT_DIR "/", hash);
	v->folder = folder;
	v->legacy = legacy;
	rc = visit(v, e);
	return rc ? rc : give_uri(&v->place, v->used, uri_steal, e);
}

/* The registry gives a container of its own for every asset: no hash, no sharing. */
static int upload_to_registry(struct visit *v, char **uri_steal, struct err *e)
{
	_cleanup_access_ struct blob_access access = {0};
	int rc = dataref_upload_place(v->arm, v->scope, v->upload->env, v->upload->version, v->call,
				      &v->place, &access, e);

	if (rc)
		return rc;
	v->folder = BLOB_CONTEXT_DIR "/";
	rc = upload_work(v, &access, e);
	return rc ? rc : give_uri(&v->place, v->used, uri_steal, e);
}

int arm_upload_context(struct source *source, struct scope *scope, const char *env,
		       const char *version, const struct upload_file *files, size_t n,
		       struct call *c, char **uri_steal, struct err *e)
{
	struct arm *a = arm_of(source);
	struct blob_upload upload = {.http = a->http,
				     .endpoint = &a->origin,
				     .files = files,
				     .n = n,
				     .env = env,
				     .version = version,
				     .call = c};
	struct visit v = {.arm = a, .scope = scope, .call = c, .work = upload_work};
	int rc;

	*uri_steal = NULL;
	if (!scope->writable)
		return err_set(e, -EROFS, "%s can't be changed", scope->name);
	if (!n)
		return err_set(e, -EINVAL, "the build context is empty: it needs at least a file");
	if (n > ASSET_CONTEXT_MAX)
		return err_set(e, -EFBIG, "the build context has more than %d files",
			       ASSET_CONTEXT_MAX);
	upload.place = &v.place;
	v.upload = &upload;
	rc = scope->kind == SCOPE_REGISTRY ? upload_to_registry(&v, uri_steal, e)
					   : upload_to_workspace(&v, uri_steal, e);
	blob_place_clear(&v.place);
	return rc;
}
