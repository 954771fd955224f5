#include "emulator/build_def.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/asset.h"
#include "client/cleanup.h"
#include "client/conda.h"
#include "client/dockerfile.h"
#include "emulator/db.h"
#include "emulator/emu_int.h"
#include "emulator/jsonio.h"

/* The last component of BUILD_REPOSITORY, by which the conda environment is called too. */
#define NAME_PREFIX "azureml_"

enum { NAME_HASH_BYTES = 16, TITLE_MAX = 2048 };

void build_def_name(const unsigned char hash[32], char out[BUILD_IMAGE_SIZE])
{
	size_t n = (size_t)snprintf(out, BUILD_IMAGE_SIZE, "%s", BUILD_REPOSITORY);

	for (size_t i = 0; i < NAME_HASH_BYTES; i++)
		snprintf(out + n + 2 * i, 3, "%02x", hash[i]);
}

static const char *local_name(const struct build_def *d)
{
	return d->image + strlen(BUILD_REPOSITORY) - strlen(NAME_PREFIX);
}

void build_def_conda_path(const struct build_def *d, struct buf *out)
{
	buf_addf(out, "/azureml-envs/%s", local_name(d));
}

static int name_derived(struct build_def *d, const char *image, struct err *e)
{
	/* Another number for another derivation: images of the old one are not taken for it. */
	_cleanup_buf_ struct buf text = BUF_INIT(EMU_JSON_MAX);
	unsigned char hash[EVP_MAX_MD_SIZE];

	buf_addf(&text, "derived 1\n%zu %s\n", strlen(image), image);
	buf_addstr(&text, d->conda ? d->conda : "");
	if (buf_error(&text))
		return err_set(e, buf_error(&text), "no room for the definition");
	if (EVP_Digest(buf_str(&text), text.len, hash, NULL, EVP_sha256(), NULL) != 1)
		return err_set(e, -EIO, "the definition's hash could not be computed");
	build_def_name(hash, d->image);
	return 0;
}

static int read_conda(struct build_def *d, const char *json, struct err *e)
{
	_cleanup_buf_ struct buf yaml = BUF_INIT(EMU_JSON_MAX);
	int ret;

	if (!json || !*json)
		return 0;
	ret = conda_render(json, strlen(json), &yaml, e);
	if (ret)
		return ret == -EBADMSG ? err_prefix(e, -EINVAL, "condaFile: ") : ret;
	d->conda = buf_steal(&yaml, NULL);
	d->conda_json = strdup(json);
	return d->conda && d->conda_json ? 0 : err_set(e, -ENOMEM, "no memory");
}

static int derive(struct build_def *d, const char *image, const char *conda, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(EMU_JSON_MAX);
	struct version v = {.image = image};
	int ret = read_conda(d, conda, e);

	if (!ret)
		ret = name_derived(d, image, e);
	if (ret)
		return ret;
	v.conda = d->conda;
	v.env = local_name(d);
	ret = dockerfile_render(&v, &text);
	if (ret)
		return err_set(e, ret, "no room for the Dockerfile");
	d->dockerfile = buf_steal(&text, NULL);
	return d->dockerfile ? 0 : err_set(e, -ENOMEM, "no memory");
}

static int read_body(struct build_def *d, const cJSON *json, struct err *e)
{
	const char *image = json_get_string(json, "image"), *os = json_get_string(json, "osType");
	const cJSON *build = cJSON_GetObjectItemCaseSensitive(json, "build");
	const char *uri = json_get_string(build, "contextUri");

	if (os && strcasecmp(os, "Windows") == 0)
		return err_set(
			e, -EINVAL,
			"its os_type is windows, and only images for Linux can be built here");
	if (uri)
		return err_set(e, -EINVAL,
			       "its build context is %s, and only contexts that are stored in this "
			       "service can be built here",
			       uri);
	if (!image || !*image)
		return err_set(e, -ENODATA, "it has neither an image nor a build context");
	return derive(d, image, json_get_string(json, "condaFile"), e);
}

static char *column(sqlite3_stmt *row, int i)
{
	const char *text = (const char *)sqlite3_column_text(row, i);

	return strdup(text ? text : "");
}

static int read_row(sqlite3_stmt *row, struct build_def *d, struct err *e)
{
	_cleanup_json_ cJSON *json = NULL;
	_cleanup_buf_ struct buf title = BUF_INIT(TITLE_MAX);

	buf_addf(&title, "%s:%s", (const char *)sqlite3_column_text(row, 0),
		 (const char *)sqlite3_column_text(row, 1));
	d->title = buf_error(&title) ? strdup("an environment") : buf_steal(&title, NULL);
	if (!d->title)
		return err_set(e, -ENOMEM, "no memory");
	if (sqlite3_column_type(row, 3) != SQLITE_NULL) {
		d->context = column(row, 3);
		d->dockerfile_path = column(row, 4);
		return d->context && d->dockerfile_path ? 0 : err_set(e, -ENOMEM, "no memory");
	}
	json = cJSON_ParseWithLength((const char *)sqlite3_column_text(row, 2),
				     (size_t)sqlite3_column_bytes(row, 2));
	if (!cJSON_IsObject(json))
		return err_set(e, -EINVAL, "its record can't be read");
	return read_body(d, json, e);
}

int build_def_load(sqlite3 *conn, int64_t version, struct build_def *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row,
			   "SELECT e.name, v.name, v.body, v.context, v.dockerfile FROM versions v"
			   " JOIN environments e ON v.environment = e.id WHERE v.id = ?",
			   "i", version);

	*out = (struct build_def){0};
	if (!ret)
		ret = db_step(row, e);
	if (ret != 1)
		return ret;
	ret = read_row(row, out, e);
	return ret ? ret : 1;
}

void build_def_release(struct build_def *d)
{
	free(d->title);
	free(d->context);
	free(d->dockerfile_path);
	free(d->dockerfile);
	free(d->conda);
	free(d->conda_json);
	*d = (struct build_def){0};
}
