/* Images: details, starting a build, asking how it goes, ending it. */
#include "emulator/exchange.h"

#include <errno.h>
#include <string.h>

#include "client/cleanup.h"
#include "emulator/build_def.h"
#include "emulator/builder.h"
#include "emulator/db.h"
#include "emulator/jsonio.h"
#include "emulator/scopes.h"

enum {
	LOG_SAS_SECONDS = 3600,
	LOG_SAS_SIZE = 1024,
	QUEUE_MAX = 1000, /* builds that wait; more are refused */
};

static void not_found(struct exchange *x, struct text env, struct text version)
{
	exchange_error(x, 404, "UserError",
		       "No environment exists for name: %.*s, version: %.*s, label: ", (int)env.len,
		       env.ptr, (int)version.len, version.ptr);
}

/* The row of a version: 1, 0 when there is none, or a negative errno. */
static int find_version(sqlite3 *conn, int64_t scope, struct text env, struct text version,
			int64_t *out, struct err *e)
{
	static const char sql[] = "SELECT v.id FROM versions v"
				  " JOIN environments e ON v.environment = e.id"
				  " WHERE e.scope = ? AND e.name = ? AND v.name = ?";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, sql, "itt", scope, env.ptr, env.len, version.ptr,
			   version.len);

	if (!ret)
		ret = db_step(row, e);
	if (ret == 1)
		*out = sqlite3_column_int64(row, 0);
	return ret;
}

/* ---- how a build goes ---- */

/* Where its log is. Only once there is something in it; *out is then not empty. */
static int add_log_url(struct exchange *x, const struct build *build, struct buf *out,
		       struct err *e)
{
	char blob[BUILD_LOG_SIZE], sas[LOG_SAS_SIZE];
	sqlite3 *conn = db_reader(x->emu->db, e);
	uint64_t size = 0;
	int ret = conn ? build_store_log_size(conn, build->log, &size, e) : -EIO;

	db_release(x->emu->db, conn);
	if (ret || !size)
		return ret;
	build_log_blob(build->log, blob);
	ret = blobs_make_blob_sas(x->emu, BUILD_CONTAINER, blob, LOG_SAS_SECONDS, sas, sizeof(sas),
				  e);
	if (!ret)
		buf_addf(out, "%s/" EMU_ACCOUNT "/" BUILD_CONTAINER "/%s?%s", x->req->base_url,
			 blob, sas);
	explicit_bzero(sas, sizeof(sas));
	return ret ? ret : buf_error(out);
}

static void show_build(struct exchange *x, const struct build *build)
{
	_cleanup_buf_ struct buf url = BUF_INIT(EMU_JSON_MAX);
	struct buf *b = &x->reply->body;
	struct err e = ERR_INIT;
	int ret = add_log_url(x, build, &url, &e);

	if (ret) {
		exchange_failure(x, ret, &e);
		return;
	}
	buf_addf(b, "{\"status\":\"%s\",\"logUrl\":", build_state_name(build->state));
	json_add_string(b, url.len ? buf_str(&url) : NULL);
	buf_addch(b, '}');
	buf_wipe(&url);
	if (build_is_over(build->state))
		return;
	x->reply->status = 202;
	emu_reply_header(x->reply, "Retry-After", "1");
}

/* The build that the path names: 1, 0 when there is none, or the reply is an error. */
static int find_build(struct exchange *x, struct build *out)
{
	struct err e = ERR_INIT;
	sqlite3 *conn = db_reader(x->emu->db, &e);
	int ret = conn ? build_store_named(conn, x->param[0], out, &e) : -EIO;

	db_release(x->emu->db, conn);
	if (ret < 0)
		exchange_failure(x, ret, &e);
	return ret;
}

/* Builds are operations like those on registries, which share.c has. */
void images_operation(struct exchange *x)
{
	struct build build;
	int ret = find_build(x, &build);

	if (ret == 1)
		show_build(x, &build);
	else if (ret == 0)
		operations_location(x);
}

void images_cancel(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct build build;
	int ret = find_build(x, &build);

	if (ret == 0)
		exchange_error(x, 404, "UserError", "There is no build of this name.");
	if (ret != 1)
		return;
	ret = builder_cancel(x->emu->builder, &build, &e);
	if (ret < 0)
		exchange_failure(x, ret, &e);
	else if (find_build(x, &build) == 1)
		show_build(x, &build);
}

/* ---- starting one ---- */

/* What becomes of a request to build; refused: why not, as the status of the answer. */
struct start {
	struct build build;
	struct build same; /* an earlier build that made the image, which is still there */
	bool exists;
	bool added;
	int refused;
};

/* The earlier build that made the image of this version: 1, 0 when there is none, or an error. */
static int find_earlier(struct exchange *x, sqlite3 *conn, struct build *out, struct err *e)
{
	struct build_def def;
	int64_t version = 0;
	int ret = find_version(conn, x->scope.id, x->param[PARAM_NAME], x->param[PARAM_VERSION],
			       &version, e);

	if (ret != 1)
		return ret;
	ret = build_store_newest(conn, version, out, e);
	if (ret < 0 || (ret == 1 && !build_is_over(out->state)))
		return ret < 0 ? ret : 0;
	ret = build_def_load(conn, version, &def, e);
	if (ret == 1)
		ret = def.image[0] ? build_store_with_image(conn, def.image, out, e)
				   : build_store_of_version(conn, version, out, e);
	build_def_release(&def);
	return ret == -ENODATA || ret == -EINVAL ? 0 : ret;
}

/* Asks the builder, which takes a moment: with no transaction begun. */
static int look_for_image(struct exchange *x, struct start *s, struct err *e)
{
	sqlite3 *conn = db_reader(x->emu->db, e);
	int ret = conn ? find_earlier(x, conn, &s->same, e) : -EIO;

	db_release(x->emu->db, conn);
	if (ret == 1)
		ret = builder_image_exists(x->emu->builder, s->same.image, e);
	s->exists = ret == 1;
	return ret < 0 ? ret : 0;
}

/* The build of the version that is not over, or a new one. 0, or a negative errno. */
static int start_build(struct exchange *x, sqlite3 *conn, struct start *s, struct err *e)
{
	struct build_def def;
	int64_t version, waiting = 0;
	int ret = find_version(conn, x->scope.id, x->param[PARAM_NAME], x->param[PARAM_VERSION],
			       &version, e);

	if (ret == 0)
		s->refused = 404;
	if (ret != 1)
		return ret;
	ret = build_store_newest(conn, version, &s->build, e);
	if (ret < 0 || (ret == 1 && !build_is_over(s->build.state)))
		return ret < 0 ? ret : 0;
	/* What can't be built for another reason is a build that fails and says so. */
	ret = build_def_load(conn, version, &def, e);
	build_def_release(&def);
	if (ret == -ENODATA) {
		s->refused = 400;
		return 0;
	}
	ret = build_store_count(conn, &waiting, e);
	if (!ret && waiting >= QUEUE_MAX)
		s->refused = 429;
	if (ret || s->refused)
		return ret;
	s->added = true;
	return build_store_add(conn, version, s->exists ? &s->same : NULL, &s->build, e);
}

static void refuse(struct exchange *x, const struct start *s)
{
	if (s->refused == 404) {
		not_found(x, x->param[PARAM_NAME], x->param[PARAM_VERSION]);
	} else if (s->refused == 400) {
		exchange_error(x, 400, "UserError",
			       "The environment has neither an image nor a build context here, so "
			       "there is nothing to build.");
	} else {
		exchange_error(x, 429, "TooManyRequests", "%d builds are waiting already.",
			       QUEUE_MAX);
		emu_reply_header(x->reply, "Retry-After", "60");
	}
}

void images_build(struct exchange *x)
{
	struct err e = ERR_INIT;
	struct start s = {0};
	sqlite3 *conn = NULL;
	int ret = look_for_image(x, &s, &e);

	if (!ret) {
		conn = db_begin(x->emu->db, &e);
		ret = conn ? start_build(x, conn, &s, &e) : -EIO;
	}
	if (!ret && s.added)
		ret = db_commit(x->emu->db, &e);
	else if (conn)
		db_rollback(x->emu->db);
	if (ret) {
		exchange_failure(x, ret, &e);
	} else if (s.refused) {
		refuse(x, &s);
	} else {
		builder_wake(x->emu->builder);
		x->reply->status = 202;
		buf_addf(&x->reply->body, "{\"location\":\"%s/environment/v1.0/operations/%s\"}",
			 x->req->base_url, s.build.name);
	}
}

/* ---- details ---- */

struct details {
	struct build_def def;
	struct build built; /* the one that made the image; its name is "" when there is none */
	struct build newest;
	struct buf dockerfile;
};

/* The Dockerfile that is, or would be, built; nothing when it is not known yet. */
static int load_dockerfile(sqlite3 *conn, struct details *d, struct err *e)
{
	const char *image = d->built.image[0] ? d->built.image : d->newest.image;

	if (d->def.dockerfile)
		return buf_addstr(&d->dockerfile, d->def.dockerfile);
	return image[0] ? build_store_dockerfile(conn, image, &d->dockerfile, e) : 0;
}

/* 1, 0 when there is no such version, or a negative errno. */
static int read_details(sqlite3 *conn, int64_t scope, struct text env, struct text version,
			struct details *d, struct err *e)
{
	int64_t row;
	int ret = find_version(conn, scope, env, version, &row, e);

	if (ret != 1)
		return ret;
	ret = build_def_load(conn, row, &d->def, e);
	/* That it can't be built does not mean that there is nothing to say about it. */
	if (ret < 0 && ret != -ENODATA && ret != -EINVAL)
		return ret;
	ret = build_store_newest(conn, row, &d->newest, e);
	if (ret >= 0)
		ret = d->def.image[0] ? build_store_with_image(conn, d->def.image, &d->built, e)
				      : build_store_of_version(conn, row, &d->built, e);
	if (ret >= 0)
		ret = load_dockerfile(conn, d, e);
	return ret < 0 ? ret : 1;
}

static int load_details(struct exchange *x, int64_t scope, struct text env, struct text version,
			struct details *d, struct err *e)
{
	sqlite3 *conn = db_reader(x->emu->db, e);
	int ret = conn ? read_details(conn, scope, env, version, d, e) : -EIO;

	db_release(x->emu->db, conn);
	return ret;
}

static void add_python(struct buf *b, const struct build_def *def)
{
	_cleanup_buf_ struct buf path = BUF_INIT(256);

	if (!def->conda) {
		buf_addstr(b, ",\"pythonEnvironment\":null");
		return;
	}
	build_def_conda_path(def, &path);
	buf_addf(b,
		 ",\"pythonEnvironment\":{\"interpreterPath\":\"%s/bin/python\","
		 "\"condaEnvironmentName\":\"%s\",\"condaEnvironmentPath\":\"%s\"}",
		 buf_str(&path), strrchr(buf_str(&path), '/') + 1, buf_str(&path));
}

static void show_details(struct exchange *x, const struct details *d)
{
	const char *image = d->built.image[0] ? d->built.image
			    : d->def.image[0] ? d->def.image
					      : d->newest.image;
	struct buf *b = &x->reply->body;

	buf_addf(b, "{\"imageExistsInRegistry\":%s,\"dockerImage\":",
		 d->built.name[0] ? "true" : "false");
	if (image[0])
		buf_addf(b,
			 "{\"name\":\"%s\",\"registry\":{\"address\":\"" BUILD_ADDRESS "\","
			 "\"username\":null,\"password\":null}}",
			 image);
	else
		buf_addstr(b, "null");
	buf_addstr(b, ",\"ingredients\":{\"dockerfile\":");
	json_add_string(b, d->dockerfile.len ? buf_str(&d->dockerfile) : NULL);
	buf_addf(b, ",\"condaSpecification\":%s}", d->def.conda_json ? d->def.conda_json : "null");
	add_python(b, &d->def);
	buf_addstr(b, ",\"imageCapabilities\":{\"canAccessData\":false,"
		      "\"hasCrossTenantSupport\":false},"
		      "\"intellectualPropertyPublisher\":null,\"vulnerabilityFindings\":null,"
		      "\"warnings\":[]}");
}

static void give_details(struct exchange *x, int64_t scope, struct text env, struct text version)
{
	struct details d = {.dockerfile = BUF_INIT(EMU_JSON_MAX)};
	struct err e = ERR_INIT;
	int ret = load_details(x, scope, env, version, &d, &e);

	if (ret < 0)
		exchange_failure(x, ret, &e);
	else if (!ret)
		not_found(x, env, version);
	else
		show_details(x, &d);
	build_def_release(&d.def);
	buf_free(&d.dockerfile);
}

void images_details(struct exchange *x)
{
	give_details(x, x->scope.id, x->param[PARAM_NAME], x->param[PARAM_VERSION]);
}

/* azureml://registries/{registry}/environments/{name}/versions/{version} */
static bool read_asset_id(const char *id, struct path *path, struct text param[ROUTE_PARAMS_MAX])
{
	static const char scheme[] = "azureml:/";
	size_t n = 0;

	return id && strncmp(id, scheme, sizeof(scheme) - 1) == 0 &&
	       path_split(id + sizeof(scheme) - 1, path, NULL) == 0 &&
	       route_match("/registries/{}/environments/{}/versions/{}", path, 0, param, &n);
}

void images_consume(struct exchange *x)
{
	struct text any = {0}, param[ROUTE_PARAMS_MAX];
	_cleanup_json_ cJSON *json = NULL;
	struct emu_scope registry = {0};
	struct err e = ERR_INIT;
	struct path path = {0};
	int ret;

	if (exchange_json(x, &json))
		return;
	if (!read_asset_id(json_get_string(json, "assetId"), &path, param)) {
		exchange_error(x, 400, "ValidationError",
			       "assetId is not azureml://registries/{registry}/environments/{name}/"
			       "versions/{version}.");
	} else {
		ret = scopes_find(x->emu, SCOPE_REGISTRY, any, any, param[0], &registry, &e);
		if (ret < 0)
			exchange_failure(x, ret, &e);
		else if (!ret)
			exchange_error(x, 404, "UserError",
				       "Could not find registry with name %.*s.", (int)param[0].len,
				       param[0].ptr);
		else
			give_details(x, registry.id, param[1], param[2]);
	}
	scope_release(&registry);
	path_free(&path);
}
