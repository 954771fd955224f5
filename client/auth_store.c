#include "client/auth_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/auth_token.h"
#include "client/cleanup.h"
#include "client/jsonwipe.h"
#include "client/keyring.h"
#include "client/log.h"
#include "client/writeall.h"

void auth_login_clear(struct auth_login *l)
{
	free(l->authority);
	free(l->tenant);
	free(l->client_id);
	buf_wipe(&l->refresh);
	*l = (struct auth_login){0};
}

int auth_login_set(struct auth_login *l, const char *authority, const char *tenant,
		   const char *client_id)
{
	l->authority = strdup(authority);
	l->tenant = strdup(tenant);
	l->client_id = strdup(client_id);
	return l->authority && l->tenant && l->client_id ? 0 : -ENOMEM;
}

static struct keyring_key key_of(const struct auth_login *l)
{
	return (struct keyring_key){
		.authority = l->authority, .tenant = l->tenant, .client_id = l->client_id};
}

/* ---- reading ---- */

static int check_file(const char *path, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return err_set(e, -EACCES, "the sign-in in %s is not used: it is not your file",
			       path);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return err_set(e, -EACCES,
			       "the sign-in in %s is not used: others may read or change it. "
			       "'mlenvfs logout', then 'mlenvfs login' again",
			       path);
	return 0;
}

static int read_file(const char *path, struct buf *out, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return err_set(e, errno == ENOENT ? -ENOENT : -EACCES, "%s: %s", path,
			       strerror(errno));
	rc = check_file(path, fd, e);
	if (!rc && buf_read(out, fd))
		rc = err_set(e, -EBADMSG, "the sign-in in %s can't be read", path);
	return rc;
}

static int parse(const struct buf *data, struct auth_login *out)
{
	const char *refresh;
	cJSON *json = NULL;
	int rc = auth_json_parse(buf_str(data), data->len, &json, NULL);

	if (rc)
		return rc;
	refresh = auth_json_text(json, "refresh_token");
	rc = auth_login_set(out, auth_json_text(json, "authority"), auth_json_text(json, "tenant"),
			    auth_json_text(json, "client_id"));
	if (!rc && (!*out->authority || !*out->tenant || !*out->client_id))
		rc = -EBADMSG;
	out->keyring = strcmp(auth_json_text(json, "kept_in"), "keyring") == 0;
	out->refresh.max = KEYRING_SECRET_MAX;
	if (!rc && !out->keyring)
		rc = *refresh ? buf_addstr(&out->refresh, refresh) : -EBADMSG;
	json_wipe(json);
	return rc;
}

/* What is in the file: all but a refresh token that is in the keyring. */
static int read_login(const char *path, struct auth_login *out, struct err *e)
{
	struct buf data = BUF_INIT(AUTH_STORE_FILE_MAX);
	int rc = read_file(path, &data, e);

	if (!rc) {
		rc = parse(&data, out);
		if (rc)
			err_set(e, rc, "the sign-in in %s is damaged: 'mlenvfs login' again", path);
	}
	buf_wipe(&data);
	if (rc)
		auth_login_clear(out);
	return rc;
}

int auth_store_load(const char *path, struct call *call, struct auth_login *out, struct err *e)
{
	struct keyring_key key;
	int rc = read_login(path, out, e);

	if (!rc && out->keyring) {
		key = key_of(out);
		rc = keyring_get(&key, call, &out->refresh, e);
	}
	if (!rc && credential_check_token(buf_str(&out->refresh), out->refresh.len, NULL))
		rc = err_set(e, -EBADMSG,
			     "the sign-in that is kept is damaged: 'mlenvfs login' "
			     "again");
	if (rc)
		auth_login_clear(out);
	return rc;
}

/* ---- writing ---- */

static char *print(const struct auth_login *l)
{
	cJSON *json = cJSON_CreateObject();
	char *text = NULL;

	if (cJSON_AddStringToObject(json, "authority", l->authority) &&
	    cJSON_AddStringToObject(json, "tenant", l->tenant) &&
	    cJSON_AddStringToObject(json, "client_id", l->client_id) &&
	    cJSON_AddStringToObject(json, "kept_in", l->keyring ? "keyring" : "file") &&
	    (l->keyring || cJSON_AddStringToObject(json, "refresh_token", buf_str(&l->refresh))))
		/* Room for all of it: where it grows it leaves copies behind. */
		text = cJSON_PrintBuffered(json, AUTH_STORE_FILE_MAX, true);
	json_wipe(json);
	return text;
}

/* mkstemp() makes it 0600. */
static int replace_file(const char *path, const char *text, struct err *e)
{
	_cleanup_free_ char *temp = NULL;
	int fd = -1, rc = 0;

	if (asprintf(&temp, "%s.XXXXXX", path) < 0) {
		temp = NULL;
		return err_set(e, -ENOMEM, "no memory for the sign-in");
	}
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		rc = -errno;
	if (!rc)
		rc = write_all(fd, text, strlen(text));
	if (!rc && fsync(fd) < 0)
		rc = -errno;
	if (fd >= 0 && close(fd) < 0 && !rc)
		rc = -errno;
	if (!rc && rename(temp, path) < 0)
		rc = -errno;
	if (rc && fd >= 0)
		unlink(temp);
	return rc ? err_set(e, rc, "the sign-in can't be kept in %s: %s", path, strerror(-rc)) : 0;
}

static bool is_same_key(const struct auth_login *a, const struct auth_login *b)
{
	return strcmp(a->authority, b->authority) == 0 && strcmp(a->tenant, b->tenant) == 0 &&
	       strcmp(a->client_id, b->client_id) == 0;
}

/* The keyring would keep for ever what nothing leads to any more. */
static void forget_former(const struct auth_login *former, const struct auth_login *now,
			  struct call *call)
{
	struct keyring_key key = key_of(former);
	struct err e = ERR_INIT;
	int rc;

	if (!former->keyring || (now->keyring && is_same_key(former, now)))
		return;
	rc = keyring_clear(&key, call, &e);
	if (rc && rc != -ENOENT)
		log_warn("op=login msg=\"the former sign-in is still in the keyring: %s\"", e.msg);
}

int auth_store_save(const char *path, const struct auth_login *l, struct call *call, struct err *e)
{
	struct keyring_key key = key_of(l);
	struct auth_login former = {0};
	char *text;
	int rc = l->keyring ? keyring_set(&key, buf_str(&l->refresh), call, e) : 0;

	if (rc)
		return rc;
	text = print(l);
	if (!text)
		return err_set(e, -ENOMEM, "no memory for the sign-in");
	if (read_login(path, &former, NULL))
		former.keyring = false;
	rc = replace_file(path, text, e);
	if (!rc)
		forget_former(&former, l, call);
	auth_login_clear(&former);
	explicit_bzero(text, strlen(text));
	cJSON_free(text);
	return rc;
}

int auth_store_delete(const char *path, struct call *call, struct err *e)
{
	struct auth_login l = {0};
	struct keyring_key key;
	struct err why = ERR_INIT;
	int rc = read_login(path, &l, &why), kept = 0;

	if (rc == -ENOENT)
		return err_set(e, rc, "nobody is signed in here");
	if (!rc && l.keyring) {
		key = key_of(&l);
		kept = keyring_clear(&key, call, &why);
	}
	auth_login_clear(&l);
	/* What others may read, or is damaged, is removed all the same. */
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, -errno, "%s can't be removed: %s", path, strerror(errno));
	if (kept && kept != -ENOENT)
		return err_set(e, kept, "%s", why.msg);
	return 0;
}
