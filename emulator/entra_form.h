/*
 * entra_form - what a request to one of Entra's endpoints says: its form, its tenant, its client.
 */
#ifndef MLENVFS_EMULATOR_ENTRA_FORM_H
#define MLENVFS_EMULATOR_ENTRA_FORM_H

#include "emulator/entra_int.h"

struct entra_form {
	struct kv kv[QUERY_PARAMS_MAX];
	size_t n;
	char *store; /* the texts of kv; wiped */
	size_t store_len;
	char tenant[ENTRA_ID_SIZE];  /* as it is called here */
	bool any_tenant;             /* "organizations" or "common" was asked */
	bool is_public;              /* the client needs no credential */
	char app[ENTRA_ID_SIZE];     /* the client */
	char object[GUID_SIZE];      /* of the client's service principal; "": it has none */
	char about[ENTRA_TEXT_SIZE]; /* what an error is about */
};

/* Reads all of it. 0, or an error, then about is set. Clear the form in any case. */
enum entra_error entra_form_read(struct exchange *x, struct entra_form *f);
void entra_form_clear(struct entra_form *f);

/* The value of a parameter, or NULL when it is absent or empty. */
const char *entra_form_get(const struct entra_form *f, const char *name);

/* The same; sets about and *error when it is not there. */
const char *entra_form_need(struct entra_form *f, const char *name, enum entra_error *error);

/* Sets what an error is about, shortened. */
void entra_form_about(struct entra_form *f, const char *about);

#endif
