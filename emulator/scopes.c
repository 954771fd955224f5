#include "emulator/scopes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "emulator/db.h"
#include "emulator/jsonio.h"

enum { SCOPE_NAME_MIN = 3, SCOPE_NAME_MAX = 33, GROUP_NAME_MAX = 90 };

/* ARM times have seven digits after the point: anything finer would be lost on the way out. */
static int64_t now_100ns(void)
{
	return clock_wall() / 100 * 100;
}

static char *column_text(sqlite3_stmt *row, int i)
{
	const unsigned char *text = sqlite3_column_text(row, i);

	return strdup(text ? (const char *)text : "");
}

int scope_from_row(sqlite3_stmt *row, struct emu_scope *out)
{
	*out = (struct emu_scope){
		.id = sqlite3_column_int64(row, 0),
		.kind = sqlite3_column_int(row, 1) ? SCOPE_REGISTRY : SCOPE_WORKSPACE,
		.subscription = column_text(row, 2),
		.group = column_text(row, 3),
		.name = column_text(row, 4),
		.guid = column_text(row, 5),
		.location = column_text(row, 6),
		.body = column_text(row, 7),
		.tags = column_text(row, 8),
		.created_by = column_text(row, 9),
		.writable = sqlite3_column_int(row, 10),
		.created = sqlite3_column_int64(row, 11),
	};
	if (out->subscription && out->group && out->name && out->guid && out->location &&
	    out->body && out->tags && out->created_by)
		return 0;
	scope_release(out);
	return -ENOMEM;
}

void scope_release(struct emu_scope *s)
{
	free(s->subscription);
	free(s->group);
	free(s->name);
	free(s->guid);
	free(s->location);
	free(s->body);
	free(s->tags);
	free(s->created_by);
	*s = (struct emu_scope){0};
}

static int find(sqlite3 *conn, enum scope_kind kind, struct text subscription, struct text group,
		struct text name, struct emu_scope *out, struct err *e)
{
	static const char sql[] = "SELECT " SCOPE_COLUMNS " FROM scopes WHERE kind = ?1"
				  " AND name = ?2 AND (?3 OR subscription = ?4)"
				  " AND (?5 OR resource_group = ?6)"
				  " ORDER BY resource_group = '" EMU_RESOURCE_GROUP "' DESC, id";
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	int ret = db_query(conn, e, &row, sql, "ititit", (int64_t)(kind == SCOPE_REGISTRY),
			   name.ptr, name.len, (int64_t)!subscription.ptr, subscription.ptr,
			   subscription.len, (int64_t)!group.ptr, group.ptr, group.len);

	if (!ret)
		ret = db_step(row, e);
	if (ret == 1 && scope_from_row(row, out))
		return err_set(e, -ENOMEM, "no memory");
	return ret;
}

int scopes_find(struct emu *emu, enum scope_kind kind, struct text subscription, struct text group,
		struct text name, struct emu_scope *out, struct err *e)
{
	sqlite3 *conn = db_reader(emu->db, e);
	int ret;

	*out = (struct emu_scope){0};
	if (!conn)
		return -EIO;
	ret = find(conn, kind, subscription, group, name, out, e);
	db_release(emu->db, conn);
	return ret;
}

/* All of these go into JSON and URLs as they are, so nothing else may be in them. */
static bool only(struct text t, const char *marks)
{
	for (size_t i = 0; i < t.len; i++) {
		char c = t.ptr[i];

		if (!c || (!strchr(marks, c) && !(c >= '0' && c <= '9') &&
			   !((c | 0x20) >= 'a' && (c | 0x20) <= 'z')))
			return false;
	}
	return true;
}

bool scope_name_ok(struct text name)
{
	return name.len >= SCOPE_NAME_MIN && name.len <= SCOPE_NAME_MAX && *name.ptr != '-' &&
	       *name.ptr != '_' && only(name, "-_");
}

bool scope_group_ok(struct text name)
{
	return name.len && name.len <= GROUP_NAME_MAX && name.ptr[name.len - 1] != '.' &&
	       only(name, "-_.()");
}

static void container_name(const char *guid, char out[CONTAINER_SIZE])
{
	snprintf(out, CONTAINER_SIZE, "azureml-blobstore-%s", guid);
}

void scope_container(const struct emu_scope *s, char out[CONTAINER_SIZE])
{
	container_name(s->guid, out);
}

static int insert(struct emu *emu, enum scope_kind kind, struct text subscription,
		  struct text group, struct text name, const char *guid, const char *body,
		  const char *tags, bool writable, struct err *e)
{
	static const char sql[] =
		"INSERT INTO scopes (kind, subscription, resource_group, name, guid, location,"
		" writable, body, tags, created, created_by)"
		" VALUES (?, ?, ?, ?, ?, '" EMU_LOCATION "', ?, ?, ?, ?, ?)";
	sqlite3 *conn = db_begin(emu->db, e);
	int ret;

	if (!conn)
		return -EIO;
	ret = db_run(conn, e, sql, "itttsissis", (int64_t)(kind == SCOPE_REGISTRY),
		     subscription.ptr, subscription.len, group.ptr, group.len, name.ptr, name.len,
		     guid, (int64_t)writable, body, tags, now_100ns(), emu->user);
	if (!ret)
		return db_commit(emu->db, e);
	db_rollback(emu->db);
	return ret;
}

int scopes_create(struct emu *emu, enum scope_kind kind, struct text subscription,
		  struct text group, struct text name, const char *body, const char *tags,
		  bool writable, struct err *e)
{
	char guid[GUID_SIZE], container[CONTAINER_SIZE];
	int ret;

	if (guid_new(guid))
		return err_set(e, -EIO, "no randomness for an id");
	/* The container comes first: one without a workspace harms nobody, the reverse would. */
	if (kind == SCOPE_WORKSPACE) {
		container_name(guid, container);
		ret = blobs_create_container(emu, container, e);
		if (ret)
			return ret;
	}
	return insert(emu, kind, subscription, group, name, guid, body, tags, writable, e);
}

int scopes_update(struct emu *emu, int64_t id, const char *body, const char *tags, struct err *e)
{
	sqlite3 *conn = db_begin(emu->db, e);
	int ret;

	if (!conn)
		return -EIO;
	ret = db_run(conn, e, "UPDATE scopes SET body = ?, tags = ? WHERE id = ?", "ssi", body,
		     tags, id);
	if (!ret)
		return db_commit(emu->db, e);
	db_rollback(emu->db);
	return ret;
}

/* The guids of all workspaces, one a line. */
static int workspace_guids(struct emu *emu, struct buf *out, struct err *e)
{
	_cleanup_stmt_ sqlite3_stmt *row = NULL;
	sqlite3 *conn = db_reader(emu->db, e);
	int ret;

	if (!conn)
		return -EIO;
	ret = db_query(conn, e, &row, "SELECT guid FROM scopes WHERE kind = 0", "");
	if (!ret)
		while ((ret = db_step(row, e)) == 1)
			buf_addf(out, "%s\n", (const char *)sqlite3_column_text(row, 0));
	sqlite3_finalize(steal_ptr(&row));
	db_release(emu->db, conn);
	return ret ? ret : buf_error(out);
}

int scopes_ensure_containers(struct emu *emu, struct err *e)
{
	_cleanup_buf_ struct buf guids = BUF_INIT(EMU_BODY_MAX);
	char *next = NULL, container[CONTAINER_SIZE];
	int ret = workspace_guids(emu, &guids, e);

	if (ret || !guids.len)
		return ret;
	for (char *guid = strtok_r(guids.data, "\n", &next); guid && !ret;
	     guid = strtok_r(NULL, "\n", &next)) {
		container_name(guid, container);
		ret = blobs_create_container(emu, container, e);
	}
	return ret;
}

void scope_add_id(const struct emu_scope *s, struct buf *b)
{
	buf_addf(b, "/subscriptions/%s/resourceGroups/%s/providers/" EMU_PROVIDER "/%s/%s",
		 s->subscription, s->group,
		 s->kind == SCOPE_WORKSPACE ? "workspaces" : "registries", s->name);
}

void scope_add_system_data(const char *by, int64_t created, struct buf *b)
{
	char at[CLOCK_ISO_SIZE];

	clock_format_iso(created, at);
	buf_addf(b, ",\"systemData\":{\"createdAt\":\"%s\",\"createdBy\":", at);
	json_add_string(b, by);
	buf_addf(b,
		 ",\"createdByType\":\"User\",\"lastModifiedAt\":\"%s\",\"lastModifiedBy\":", at);
	json_add_string(b, by);
	buf_addstr(b, ",\"lastModifiedByType\":\"User\"}");
}
