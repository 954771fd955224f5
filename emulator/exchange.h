/*
 * exchange - one request to the management plane while its route answers it, and the routes.
 *
 * dispatch.c fills an exchange (path, route, scope) and calls the route's handler on the
 * connection's own thread. Handlers fill exchange.reply and nothing else.
 */
#ifndef MLENVFS_EMULATOR_EXCHANGE_H
#define MLENVFS_EMULATOR_EXCHANGE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "emulator/emu_int.h"
#include "emulator/reply.h"
#include "emulator/route.h"

#define EMU_PROVIDER "Microsoft.MachineLearningServices"
#define EMU_LOCATION "local"
#define EMU_REGISTRY "azureml" /* the registry of curated environments, read-only */

/* A workspace or registry as the store has it. Strings owned. */
struct emu_scope {
	int64_t id;
	enum scope_kind kind;
	char *subscription;
	char *group;
	char *name;
	char *guid;
	char *location;
	char *body; /* JSON object: what its maker said of it */
	char *tags; /* JSON object */
	char *created_by;
	bool writable;
	int64_t created;
};

struct exchange {
	struct emu *emu;
	const struct emu_request *req;
	struct emu_reply *reply;
	enum reply_plane plane; /* whose error bodies and asset ids to give */
	struct path path;
	struct text param[ROUTE_PARAMS_MAX]; /* what the route's "{}" stood for */
	size_t n_params;
	struct emu_scope scope; /* of routes that lie in one; else all zero */
};

/* Where routes inside a scope find their parameters: subscription, group and scope come first. */
enum { PARAM_SUBSCRIPTION, PARAM_GROUP, PARAM_SCOPE, PARAM_NAME, PARAM_VERSION };

/* Makes the reply an error in the exchange's own form. */
#define exchange_error(x, status, code, ...) \
	reply_error((x)->reply, (x)->plane, status, code, __VA_ARGS__)
#define exchange_failure(x, error, e) reply_failure((x)->reply, (x)->plane, error, e)

/* The request's body as a JSON object; on failure the reply is the 400. Free with cJSON_Delete().
 */
struct cJSON;
int exchange_json(struct exchange *x, struct cJSON **out);

/* "?api-version=..." of this request, for links that lead back here. Appends to b. */
void exchange_api_version(const struct exchange *x, struct buf *b);

/* The moment up to which lists know what happened (ns since the epoch; INT64_MAX: everything). */
int64_t exchange_list_cutoff(const struct exchange *x);

/* Handlers, by file. */
void workspaces_list(struct exchange *x); /* arm_workspace.c */
void workspaces_list_group(struct exchange *x);
void workspaces_get(struct exchange *x);
void workspaces_put(struct exchange *x);

void environments_list(struct exchange *x); /* arm_env.c */
void environments_get(struct exchange *x);
void environments_put(struct exchange *x);
void environments_delete(struct exchange *x);

void versions_list(struct exchange *x); /* arm_version.c */
void versions_get(struct exchange *x);
void versions_put(struct exchange *x);
void versions_delete(struct exchange *x);

void datastores_list(struct exchange *x); /* arm_datastore.c */
void datastores_get(struct exchange *x);
void datastores_list_secrets(struct exchange *x);

void registries_list(struct exchange *x); /* registry.c */
void registries_list_group(struct exchange *x);
void registries_get(struct exchange *x);
void registries_tempdataref(struct exchange *x);
void registries_dataref(struct exchange *x);

void versions_publish(struct exchange *x); /* share.c */
void registries_import(struct exchange *x);
void operations_location(struct exchange *x);
void operations_status(struct exchange *x);

void regional_services(struct exchange *x); /* regional.c */
void regional_registry(struct exchange *x);

void images_details(struct exchange *x); /* regional_image.c */
void images_build(struct exchange *x);
void images_consume(struct exchange *x);
void images_operation(struct exchange *x);
void images_cancel(struct exchange *x);
void entra_token_v1(struct exchange *x); /* entra_token.c */
void entra_token_v2(struct exchange *x);
void entra_devicecode(struct exchange *x); /* entra_device.c */
void entra_devicelogin(struct exchange *x);
void entra_configuration(struct exchange *x); /* entra_meta.c */
void entra_instance(struct exchange *x);
void entra_keys(struct exchange *x);
void entra_control_app(struct exchange *x); /* entra_control.c */
void entra_control_remove(struct exchange *x);
void entra_control_settings(struct exchange *x);
void entra_control_device(struct exchange *x);
void entra_control_revoke(struct exchange *x);

void clouds_list(struct exchange *x); /* arm_tenant.c */
void subscriptions_list(struct exchange *x);
void subscriptions_get(struct exchange *x);
void tenants_list(struct exchange *x);
void groups_list(struct exchange *x);
void groups_get(struct exchange *x);

void control_counters(struct exchange *x); /* control.c */
void control_counters_reset(struct exchange *x);
void control_faults(struct exchange *x);
void control_registry(struct exchange *x);
void control_workspace(struct exchange *x);
void control_raw(struct exchange *x);

#endif
