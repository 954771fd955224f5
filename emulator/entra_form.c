#include "emulator/entra_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FORM_TYPE "application/x-www-form-urlencoded"

/* Clients of Microsoft's own that every tenant knows: the Azure CLI and Azure PowerShell. */
static const char *const well_known[] = {"04b07795-8ddb-461a-bbee-02f9e1bf7b46",
					 "1950a258-227b-4e31-a9cf-717495945fc2"};

void entra_form_clear(struct entra_form *f)
{
	if (f->store)
		explicit_bzero(f->store, f->store_len);
	free(f->store);
	f->store = NULL;
	f->n = 0;
}

void entra_form_about(struct entra_form *f, const char *about)
{
	size_t len = strnlen(about, sizeof(f->about) - 1);

	memcpy(f->about, about, len);
	f->about[len] = '\0';
}

const char *entra_form_get(const struct entra_form *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->kv[i].key, name) == 0)
			return f->kv[i].value && *f->kv[i].value ? f->kv[i].value : NULL;
	return NULL;
}

const char *entra_form_need(struct entra_form *f, const char *name, enum entra_error *error)
{
	const char *value = entra_form_get(f, name);

	if (!value) {
		entra_form_about(f, name);
		*error = ENTRA_NO_PARAMETER;
	}
	return value;
}

static enum entra_error bad_form(struct entra_form *f, const char *why)
{
	entra_form_about(f, why);
	return ENTRA_BAD_FORM;
}

static enum entra_error split(const struct emu_request *req, struct entra_form *f)
{
	const char *type = emu_header(req, "Content-Type");
	struct err e = ERR_INIT;

	if (!type || strncasecmp(type, FORM_TYPE, strlen(FORM_TYPE)) != 0)
		return bad_form(f, "its Content-Type is another.");
	if (!req->body_len)
		return ENTRA_OK;
	if (req->body_len > ENTRA_FORM_MAX || memchr(req->body, '\0', req->body_len))
		return bad_form(f, "it is too large, or holds a NUL.");
	f->store_len = req->body_len;
	if (query_split(req->body, f->kv, &f->n, &f->store, &e))
		return bad_form(f, e.msg);
	return ENTRA_OK;
}

static enum entra_error read_tenant(struct exchange *x, struct entra_form *f)
{
	struct text given = x->param[0];

	f->any_tenant = entra_any_tenant(given);
	if (entra_tenant(x->emu->entra, given, f->tenant))
		return ENTRA_OK;
	snprintf(f->about, sizeof(f->about), "%.*s", (int)given.len, given.ptr);
	return ENTRA_NO_TENANT;
}

static bool is_well_known(const char *id)
{
	for (size_t i = 0; i < sizeof(well_known) / sizeof(well_known[0]); i++)
		if (strcasecmp(id, well_known[i]) == 0)
			return true;
	return false;
}

/* An application is found in its own tenant only. */
static bool find_app(struct entra *n, const char *id, struct entra_form *f)
{
	const struct entra_app *app;
	bool found;

	pthread_mutex_lock(&n->lock);
	app = entra_app_find(n, id);
	found = app && (f->any_tenant || strcasecmp(app->tenant, f->tenant) == 0);
	if (found) {
		memcpy(f->app, app->id, sizeof(f->app));
		memcpy(f->tenant, app->tenant, sizeof(f->tenant));
		memcpy(f->object, app->object, sizeof(f->object));
		f->is_public = app->is_public;
	}
	pthread_mutex_unlock(&n->lock);
	if (found || !is_well_known(id))
		return found;
	f->is_public = true;
	memcpy(f->app, id, strlen(id) + 1);
	return true;
}

enum entra_error entra_form_read(struct exchange *x, struct entra_form *f)
{
	enum entra_error error;
	const char *client;

	*f = (struct entra_form){0};
	error = split(x->req, f);
	if (!error)
		error = read_tenant(x, f);
	if (error)
		return error;
	client = entra_form_need(f, "client_id", &error);
	if (!client)
		return error;
	entra_form_about(f, client);
	return find_app(x->emu->entra, client, f) ? ENTRA_OK : ENTRA_NO_APP;
}
