/* /__mlenvfs/entra/: who may sign in, who says yes for people, and how it goes wrong. */
#include "emulator/entra_int.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "client/jsonwipe.h"
#include "emulator/jsonio.h"

#define DEFAULT_USER "user@mlenvfs.local"

/* A path's segment as a text; false: it is too long, or holds a NUL. */
static bool copy_param(struct text t, char *out, size_t size)
{
	if (t.len >= size || memchr(t.ptr, '\0', t.len))
		return false;
	memcpy(out, t.ptr, t.len);
	out[t.len] = '\0';
	return true;
}

static void refuse(struct exchange *x, int error, const struct err *e)
{
	if (error == -ENOMEM || error == -EIO)
		exchange_failure(x, error, e);
	else
		exchange_error(x, 400, "UserError", "%s", err_text(e, error));
}

void entra_control_app(struct exchange *x)
{
	struct entra *n = x->emu->entra;
	cJSON *json = NULL;
	char id[ENTRA_ID_SIZE];
	struct err e = ERR_INIT;
	struct entra_app *app;
	bool known;
	int ret;

	if (!copy_param(x->param[0], id, sizeof(id))) {
		exchange_error(x, 400, "UserError", "This is not a client id.");
		return;
	}
	if (exchange_json(x, &json))
		return;
	ret = entra_conf_app(id, json, &app, &e);
	json_wipe(json);
	if (!ret) {
		pthread_mutex_lock(&n->lock);
		known = entra_app_find(n, id);
		ret = entra_app_put(n, app);
		pthread_mutex_unlock(&n->lock);
		if (ret)
			entra_app_free(app);
	}
	if (ret)
		refuse(x, ret, &e);
	else
		x->reply->status = known ? 200 : 201;
}

void entra_control_remove(struct exchange *x)
{
	struct entra *n = x->emu->entra;
	char id[ENTRA_ID_SIZE];
	bool found = false;

	if (copy_param(x->param[0], id, sizeof(id))) {
		pthread_mutex_lock(&n->lock);
		found = entra_app_remove(n, id);
		pthread_mutex_unlock(&n->lock);
	}
	x->reply->status = found ? 200 : 204;
}

void entra_control_settings(struct exchange *x)
{
	struct entra *n = x->emu->entra;
	_cleanup_json_ cJSON *json = NULL;
	struct err e = ERR_INIT;
	int ret;

	if (exchange_json(x, &json))
		return;
	pthread_mutex_lock(&n->lock);
	ret = entra_conf_settings(json, &n->settings, &e);
	pthread_mutex_unlock(&n->lock);
	if (ret)
		refuse(x, ret, &e);
	else
		x->reply->status = 204;
}

/* {"approve": true, "user": "somebody"} */
void entra_control_device(struct exchange *x)
{
	_cleanup_json_ cJSON *json = NULL;
	const cJSON *approve;
	const char *user;

	if (exchange_json(x, &json))
		return;
	approve = cJSON_GetObjectItemCaseSensitive(json, "approve");
	user = json_get_string(json, "user");
	if (!cJSON_IsBool(approve))
		exchange_error(x, 400, "UserError", "'approve' must be true or false");
	else if (!entra_device_answer(x->emu->entra, x->param[0], user ? user : DEFAULT_USER,
				      cJSON_IsTrue(approve)))
		exchange_error(x, 404, "ResourceNotFound", "No such code is waiting.");
	else
		x->reply->status = 204;
}

static bool wants(const struct exchange *x, const char *kind)
{
	const char *given = emu_param(x->req, "kind");

	return !given || strcasecmp(given, kind) == 0;
}

/* All that were given until now; ?kind=access or refresh, ?claims=true. */
void entra_control_revoke(struct exchange *x)
{
	const char *claims = emu_param(x->req, "claims");
	struct entra *n = x->emu->entra;

	pthread_mutex_lock(&n->lock);
	if (wants(x, "access")) {
		n->revoked = n->issued;
		n->revoked_by_claim = claims && strcasecmp(claims, "true") == 0;
	}
	for (size_t i = 0; i < ENTRA_REFRESH_MAX && wants(x, "refresh"); i++)
		n->grants[i].revoked = true;
	pthread_mutex_unlock(&n->lock);
	x->reply->status = 204;
}
