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

struct auth_entra;

/*
 * Checks what names an authority ("login.microsoftonline.us", "https://host:port/"), and writes it
 * as "scheme://host[:port]" into out (empty before). -EINVAL when it is no https address; http is
 * accepted on this machine only. what names the setting in the text.
 */
int auth_entra_check_authority(const char *text, const char *what, struct buf *out, struct err *e);

/* Letters, digits, '-' and '.': what can be a tenant. */
bool auth_entra_is_tenant(const char *text);

/* authority as auth_entra_check_authority() wrote it; copied. http is borrowed. -ENOMEM. */
int auth_entra_new(struct http *http, const char *authority, struct auth_entra **out,
		   struct err *e);
void auth_entra_free(struct auth_entra *en); /* NULL is allowed */

const char *auth_entra_authority(const struct auth_entra *en);

/* "{authority}/{tenant}/oauth2/v2.0/token"; what an assertion is addressed to. */
int auth_entra_token_url(const struct auth_entra *en, const char *tenant, struct buf *url);

/* Seconds since the epoch by the clock of the token endpoint, as far as it is known. */
int64_t auth_entra_now(struct auth_entra *en);

/* The fields of a form; all borrowed. What is a secret is masked in whatever the endpoint says. */
struct auth_entra_form {
	struct {
		const char *name;
		const char *value;
		bool secret;
	} fields[ENTRA_FIELDS_MAX];
	size_t n;
};
void auth_entra_form_add(struct auth_entra_form *f, const char *name, const char *value);
void auth_entra_form_add_secret(struct auth_entra_form *f, const char *name, const char *value);

/* What a refusal says, for those who go on from there. */
struct auth_entra_refusal {
	char error[64]; /* "invalid_client"; "" when it was none */
	long code;      /* of AADSTS; 0 when unknown */
};

/*
 * Posts the form to a tenant's token endpoint. 0, -EACCES when it is refused (*why, which may be
 * NULL, says how; the text says it in words), otherwise as http_perform().
 */
int auth_entra_token(struct auth_entra *en, const char *tenant, const struct auth_entra_form *form,
		     struct call *call, struct auth_token *out, struct auth_entra_refusal *why,
		     struct err *e);

/* Posts the form to another endpoint of the tenant ("devicecode"): the answer's JSON object, for
 * json_wipe(). Errors as above. */
int auth_entra_post(struct auth_entra *en, const char *tenant, const char *endpoint,
		    const struct auth_entra_form *form, struct call *call, cJSON **out,
		    struct auth_entra_refusal *why, struct err *e);

#endif
