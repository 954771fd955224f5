/*
 * auth_entra - the token endpoint of Microsoft Entra ID. Source: auth.md section 2.
 *
 * Any thread.
 */
#ifndef MLENVFS_CLIENT_AUTH_ENTRA_H
#define MLENVFS_CLIENT_AUTH_ENTRA_H

#include <stdbool.h>
#include <stdint.h>

#include "client/asset.h"
#include "client/auth_token.h"
#include "client/call.h"
#include "client/http.h"

enum { ENTRA_FIELDS_MAX = 12, ENTRA_FORM_MAX = 256 * 1024 };

struct entra;

/*
 * Checks what names an authority ("login.microsoftonline.us", "https://host:port/"), and writes it
 * as "scheme://host[:port]" into out (empty before). -EINVAL when it is no https address; http is
 * accepted on this machine only. what names the setting in the text.
 */
int entra_check_authority(const char *text, const char *what, struct buf *out, struct err *e);

/* Letters, digits, '-' and '.': what can be a tenant. */
bool entra_is_tenant(const char *text);

/* authority as entra_check_authority() wrote it; copied. http is borrowed. -ENOMEM. */
int entra_new(struct http *http, const char *authority, struct entra **out, struct err *e);
void entra_free(struct entra *en); /* NULL is allowed */

const char *entra_authority(const struct entra *en);

/* "{authority}/{tenant}/oauth2/v2.0/token"; what an assertion is addressed to. */
int entra_token_url(const struct entra *en, const char *tenant, struct buf *url);

/* Seconds since the epoch by the clock of the token endpoint, as far as it is known. */
int64_t entra_now(struct entra *en);

/* The fields of a form; all borrowed. What is a secret is masked in whatever the endpoint says. */
struct entra_form {
	struct {
		const char *name;
		const char *value;
		bool secret;
	} fields[ENTRA_FIELDS_MAX];
	size_t n;
};
void entra_form_add(struct entra_form *f, const char *name, const char *value);
void entra_form_add_secret(struct entra_form *f, const char *name, const char *value);

/* What a refusal says, for those who go on from there. */
struct entra_refusal {
	char error[64]; /* "invalid_client"; "" when it was none */
	long code;      /* of AADSTS; 0 when unknown */
};

/*
 * Posts the form to a tenant's token endpoint. 0, -EACCES when it is refused (*why, which may be
 * NULL, says how; the text says it in words), otherwise as http_perform().
 */
int entra_token(struct entra *en, const char *tenant, const struct entra_form *form,
		struct call *call, struct auth_token *out, struct entra_refusal *why,
		struct err *e);

/* Posts the form to another endpoint of the tenant ("devicecode"): the answer's JSON object, for
 * auth_json_free(). Errors as above. */
int entra_post(struct entra *en, const char *tenant, const char *endpoint,
	       const struct entra_form *form, struct call *call, cJSON **out,
	       struct entra_refusal *why, struct err *e);

#endif
