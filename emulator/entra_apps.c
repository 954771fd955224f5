/* The applications that may sign in. */
#include "emulator/entra_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

void entra_app_free(struct entra_app *app)
{
	if (!app)
		return;
	for (size_t i = 0; i < app->n_certs; i++) {
		X509_free(app->certs[i].x509);
		EVP_PKEY_free(app->certs[i].key);
	}
	for (size_t i = 0; i < app->n_federated; i++)
		EVP_PKEY_free(app->federated[i].key);
	free(app);
}

static struct entra_app **place_of(struct entra *n, const char *id)
{
	for (size_t i = 0; i < n->n_apps; i++)
		if (strcasecmp(n->apps[i]->id, id) == 0)
			return &n->apps[i];
	return NULL;
}

struct entra_app *entra_app_find(struct entra *n, const char *id)
{
	struct entra_app **place = place_of(n, id);

	return place ? *place : NULL;
}

int entra_app_put(struct entra *n, struct entra_app *app)
{
	struct entra_app **place = place_of(n, app->id);

	if (place) {
		entra_app_free(*place);
		*place = app;
		return 0;
	}
	if (n->n_apps == ENTRA_APPS_MAX)
		return -ENOSPC;
	n->apps[n->n_apps++] = app;
	return 0;
}

bool entra_app_remove(struct entra *n, const char *id)
{
	struct entra_app **place = place_of(n, id);

	if (!place)
		return false;
	entra_app_free(*place);
	*place = n->apps[--n->n_apps];
	return true;
}

static const char *tenant_of_app(const struct entra *n, struct text tenant)
{
	for (size_t i = 0; i < n->n_apps; i++)
		if (text_is_case(tenant, n->apps[i]->tenant))
			return n->apps[i]->tenant;
	return NULL;
}

bool entra_any_tenant(struct text tenant)
{
	return text_is_case(tenant, "organizations") || text_is_case(tenant, "common");
}

bool entra_tenant(struct entra *n, struct text tenant, char out[ENTRA_ID_SIZE])
{
	const char *found = ENTRA_TENANT;

	pthread_mutex_lock(&n->lock);
	if (!entra_any_tenant(tenant) && !text_is_case(tenant, ENTRA_TENANT))
		found = tenant_of_app(n, tenant);
	if (found)
		memcpy(out, found, strlen(found) + 1);
	pthread_mutex_unlock(&n->lock);
	return found != NULL;
}
