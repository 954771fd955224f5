/* What clients ask before they sign in: where everything is. Source: OpenID Connect Discovery 1.0
 * section 3; RFC 8414; MSAL's instance discovery. */
#include "emulator/entra_int.h"

#include <stdio.h>
#include <string.h>

#include "emulator/jsonio.h"

/* The tenant of the path, as it is called here. false: the reply is an error. */
static bool find_tenant(struct exchange *x, char out[ENTRA_ID_SIZE])
{
	struct text given = x->param[0];
	char about[ENTRA_TEXT_SIZE];

	if (entra_tenant(x->emu->entra, given, out))
		return true;
	snprintf(about, sizeof(about), "%.*s", (int)given.len, given.ptr);
	entra_error(x, ENTRA_NO_TENANT, about);
	return false;
}

void entra_configuration(struct exchange *x)
{
	struct buf *b = &x->reply->body;
	const char *base = x->req->base_url;
	char tenant[ENTRA_ID_SIZE];

	if (!find_tenant(x, tenant))
		return;
	buf_addf(b,
		 "{\"issuer\":\"%s/%s/v2.0\",\"token_endpoint\":\"%s/%s/oauth2/v2.0/token\","
		 "\"device_authorization_endpoint\":\"%s/%s/oauth2/v2.0/devicecode\","
		 "\"authorization_endpoint\":\"%s/%s/oauth2/v2.0/authorize\","
		 "\"end_session_endpoint\":\"%s/%s/oauth2/v2.0/logout\","
		 "\"jwks_uri\":\"%s/%s/discovery/v2.0/keys\",",
		 base, tenant, base, tenant, base, tenant, base, tenant, base, tenant, base,
		 tenant);
	buf_addstr(b, "\"token_endpoint_auth_methods_supported\":[\"client_secret_post\","
		      "\"private_key_jwt\"],\"token_endpoint_auth_signing_alg_values_supported\":"
		      "[\"RS256\",\"PS256\"],\"response_types_supported\":[\"code\"],"
		      "\"subject_types_supported\":[\"pairwise\"],"
		      "\"id_token_signing_alg_values_supported\":[\"RS256\"],\"scopes_supported\":"
		      "[\"openid\",\"profile\",\"email\",\"offline_access\"],"
		      "\"grant_types_supported\":[\"client_credentials\",\"refresh_token\","
		      "\"urn:ietf:params:oauth:grant-type:device_code\"]}");
}

/* Which hosts are one and the same; asked of a host that is known, about one that is not. */
void entra_instance(struct exchange *x)
{
	const char *base = x->req->base_url, *host = strstr(base, "://") + strlen("://");

	buf_addf(&x->reply->body,
		 "{\"tenant_discovery_endpoint\":\"%s/" ENTRA_TENANT
		 "/v2.0/.well-known/openid-configuration\",\"api-version\":\"1.1\","
		 "\"metadata\":[{\"preferred_network\":\"%s\",\"preferred_cache\":\"%s\","
		 "\"aliases\":[\"%s\"]}]}",
		 base, host, host, host);
}

void entra_keys(struct exchange *x)
{
	char tenant[ENTRA_ID_SIZE];

	if (!find_tenant(x, tenant))
		return;
	buf_addstr(&x->reply->body, "{\"keys\":[");
	if (entra_add_key(x->emu->entra, &x->reply->body)) {
		entra_error(x, ENTRA_INTERNAL, NULL);
		return;
	}
	buf_addstr(&x->reply->body, "]}");
}
