/*
 * scopes - workspaces and registries in the store.
 */
#ifndef MLENVFS_EMULATOR_SCOPES_H
#define MLENVFS_EMULATOR_SCOPES_H

#include "emulator/exchange.h"

/*
 * Fills *out with the scope of that name; subscription and group NULL (ptr) match any (the
 * embedded service's own group first). 1 found, 0 not, or a negative errno. Release it in any case.
 */
int scopes_find(struct emu *emu, enum scope_kind kind, struct text subscription, struct text group,
		struct text name, struct emu_scope *out, struct err *e);
void scope_release(struct emu_scope *s);

/* Fills *out from a row of "SELECT " SCOPE_COLUMNS " FROM scopes". 0 or -ENOMEM. */
#define SCOPE_COLUMNS                                                                            \
	"id, kind, subscription, resource_group, name, guid, location, body, tags, created_by, " \
	"writable, created"
int scope_from_row(sqlite3_stmt *row, struct emu_scope *out);

/*
 * Makes a workspace (with the container of its datastore) or a registry. body and tags are JSON
 * objects. 0; -EEXIST when a registry of that name exists elsewhere; or another negative errno.
 */
int scopes_create(struct emu *emu, enum scope_kind kind, struct text subscription,
		  struct text group, struct text name, const char *body, const char *tags,
		  bool writable, struct err *e);

/* Replaces what is said of a scope. */
int scopes_update(struct emu *emu, int64_t id, const char *body, const char *tags, struct err *e);

/* Makes the containers of all workspaces that are not there. */
int scopes_ensure_containers(struct emu *emu, struct err *e);

/* The container of the workspace's default datastore. */
enum { CONTAINER_SIZE = 64 };
void scope_container(const struct emu_scope *s, char out[CONTAINER_SIZE]);

/* Whether name may name a workspace or a registry; a resource group or a subscription. */
bool scope_name_ok(struct text name);
bool scope_group_ok(struct text name);

/* Appends its ARM id. */
void scope_add_id(const struct emu_scope *s, struct buf *b);

/* Appends ",\"systemData\":{...}". */
void scope_add_system_data(const char *by, int64_t created, struct buf *b);

#endif
