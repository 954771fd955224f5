#include "emulator/access.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "client/base64.h"
#include "client/clock.h"

enum { CLAIMS_MAX = 128 };

enum entra_verdict access_check(const struct emu *emu, const struct emu_request *req,
				unsigned int audiences)
{
	const char *given = emu_header(req, "Authorization"), *token = emu->conf.token;

	if (!token)
		return ENTRA_GOOD;
	if (!given || strncasecmp(given, "Bearer ", 7))
		return ENTRA_FOREIGN;
	given += 7 + strspn(given + 7, " ");
	if (strlen(given) == strlen(token) && CRYPTO_memcmp(given, token, strlen(token)) == 0)
		return ENTRA_GOOD;
	return audiences ? entra_check(emu->entra, given, audiences) : ENTRA_FOREIGN;
}

/* Continuous access evaluation: the next token must be younger than now (auth.md section 6). */
static void challenge_claims(struct exchange *x)
{
	char claims[CLAIMS_MAX], text[BASE64_SIZE(CLAIMS_MAX)];

	snprintf(claims, sizeof(claims),
		 "{\"access_token\":{\"nbf\":{\"essential\":true,\"value\":\"%lld\"}}}",
		 (long long)(clock_wall() / NS_PER_S));
	base64_encode(claims, strlen(claims), text);
	emu_reply_header(x->reply, "WWW-Authenticate",
			 "Bearer realm=\"\", authorization_uri=\"%s/" ENTRA_TENANT
			 "\", error=\"insufficient_claims\", claims=\"%s\"",
			 x->req->base_url, text);
}

void access_refuse(struct exchange *x, enum entra_verdict verdict)
{
	const char *code = "InvalidAuthenticationToken", *text = "The access token is invalid.";

	if (!emu_header(x->req, "Authorization")) {
		code = "AuthenticationFailed";
		text = "Authentication failed. The 'Authorization' header is missing.";
	} else if (verdict == ENTRA_EXPIRED) {
		code = "ExpiredAuthenticationToken";
		text = "The access token expiry UTC time is earlier than current UTC time.";
	} else if (verdict == ENTRA_ELSEWHERE) {
		code = "InvalidAuthenticationTokenAudience";
		text = "The access token has been obtained for the wrong audience or resource.";
	} else if (verdict == ENTRA_REVOKED || verdict == ENTRA_CHALLENGED) {
		text = "The access token has been revoked.";
	}
	exchange_error(x, 401, code, "%s", text);
	if (verdict == ENTRA_CHALLENGED)
		challenge_claims(x);
	else
		emu_reply_header(x->reply, "WWW-Authenticate",
				 "Bearer authorization_uri=\"%s/" ENTRA_TENANT
				 "\", error=\"invalid_token\", error_description=\"%s\"",
				 x->req->base_url, text);
}
