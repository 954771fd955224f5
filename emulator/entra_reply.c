#include "emulator/entra_reply.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "emulator/entra_int.h"
#include "emulator/jsonio.h"

/* The form is that of RFC 6749 section 5.2, with Entra's members. Sources of the numbers: auth.md
 * section 2; learn.microsoft.com, "Microsoft Entra authentication and authorization error codes". A
 * text's %s is what the error is about. */
static const struct {
	int number;
	int status;
	const char *error;
	const char *text;
} table[] = {
	[ENTRA_NO_PARAMETER] = {900144, 400, "invalid_request",
				"The request body must contain the following parameter: '%s'."},
	[ENTRA_BAD_FORM] = {900561, 400, "invalid_request",
			    "The endpoint only accepts POST requests with a body of the type "
			    "application/x-www-form-urlencoded: %s"},
	[ENTRA_NO_GRANT_TYPE] = {70003, 400, "unsupported_grant_type",
				 "The app requested an unsupported grant type '%s'."},
	[ENTRA_NO_TENANT] = {90002, 400, "invalid_request",
			     "Tenant '%s' not found. Check to make sure you have the correct "
			     "tenant ID and are signing into the correct cloud."},
	[ENTRA_NOT_A_TENANT] = {50059, 400, "invalid_request",
				"No tenant-identifying information found in either the request "
				"or implied by any provided credentials: '%s' is not a tenant."},
	[ENTRA_NO_APP] = {700016, 400, "unauthorized_client",
			  "Application with identifier '%s' was not found in the directory."},
	[ENTRA_BAD_SECRET] = {7000215, 401, "invalid_client",
			      "Invalid client secret provided. Ensure the secret being sent in the "
			      "request is the client secret value, not the client secret ID, for a "
			      "secret added to app '%s'."},
	[ENTRA_OLD_SECRET] = {7000222, 401, "invalid_client",
			      "The provided client secret keys for app '%s' are expired."},
	[ENTRA_NO_CREDENTIAL] = {7000218, 401, "invalid_client",
				 "The request body must contain the following parameter: "
				 "'client_assertion' or 'client_secret'."},
	[ENTRA_BAD_ASSERTION] = {50027, 400, "invalid_request",
				 "JWT token is invalid or malformed."},
	[ENTRA_ASSERTION_KEY] = {700027, 401, "invalid_client",
				 "The certificate with identifier used to sign the client "
				 "assertion is not registered on application '%s', or the "
				 "signature is not valid."},
	[ENTRA_ASSERTION_TIME] = {700024, 401, "invalid_client",
				  "Client assertion is not within its valid time range. Check the "
				  "clock: %s."},
	[ENTRA_ASSERTION_APP] = {700021, 401, "invalid_client",
				 "Client assertion application identifier doesn't match "
				 "'client_id' parameter '%s'."},
	[ENTRA_ASSERTION_AUDIENCE] =
		{700023, 401, "invalid_client",
		 "Client assertion audience claim does not match Realm issuer: "
		 "'%s' was expected."},
	[ENTRA_ASSERTION_NO_ID] = {50027, 400, "invalid_request",
				   "JWT token is invalid or malformed: it has no jti claim."},
	[ENTRA_ASSERTION_USED] = {50013, 401, "invalid_client",
				  "Client assertion with this jti claim was used before."},
	[ENTRA_NOT_FEDERATED] = {70021, 400, "invalid_request",
				 "No matching federated identity record found for presented "
				 "assertion: %s."},
	[ENTRA_NOT_DEFAULT] = {1002012, 400, "invalid_scope",
			       "The provided value for scope %s is not valid. Client credential "
			       "flows must have a scope value with /.default suffixed to the "
			       "resource identifier (application ID URI)."},
	[ENTRA_BAD_SCOPE] = {70011, 400, "invalid_scope",
			     "The provided value for the input parameter 'scope' is not valid. The "
			     "scope '%s' is not valid."},
	[ENTRA_NO_RESOURCE] = {500011, 400, "invalid_resource",
			       "The resource principal named %s was not found in the tenant."},
	[ENTRA_MANY_RESOURCES] = {28000, 400, "invalid_scope",
				  "Provided value for the input parameter scope is not valid "
				  "because it contains more than one resource. Scope %s is not "
				  "valid."},
	[ENTRA_BAD_REFRESH] = {70000, 400, "invalid_grant",
			       "Provided grant is invalid or malformed."},
	[ENTRA_OLD_REFRESH] = {700082, 400, "invalid_grant",
			       "The refresh token has expired due to inactivity."},
	[ENTRA_REVOKED_REFRESH] = {50173, 400, "invalid_grant",
				   "The provided grant has expired due to it being revoked, a "
				   "fresh auth token is needed."},
	[ENTRA_PENDING] = {70016, 400, "authorization_pending",
			   "OAuth 2.0 device flow error. Authorization is pending. Continue "
			   "polling."},
	[ENTRA_SLOW_DOWN] = {70016, 400, "slow_down",
			     "OAuth 2.0 device flow error. Polls come too fast: wait five seconds "
			     "more between them."},
	[ENTRA_DECLINED] = {65004, 400, "authorization_declined",
			    "User declined to consent to access the app."},
	[ENTRA_BAD_CODE] = {70018, 400, "bad_verification_code",
			    "The verification code is not recognized or was used."},
	[ENTRA_OLD_CODE] = {70019, 400, "expired_token", "The device code has expired."},
	[ENTRA_INTERNAL] = {90033, 503, "temporarily_unavailable",
			    "A transient error has occurred. Please try again."},
};

static void add_body(struct buf *b, const char *error, int number, const char *text)
{
	char trace[GUID_SIZE] = "", correlation[GUID_SIZE] = "", now[32] = "";
	_cleanup_buf_ struct buf description = BUF_INIT(2 * ERR_MSG_MAX);
	time_t t = time(NULL);
	struct tm tm;

	/* Ids are for people to quote: empty ones are better than no answer. */
	if (guid_new(trace) || guid_new(correlation))
		trace[0] = correlation[0] = '\0';
	if (gmtime_r(&t, &tm))
		strftime(now, sizeof(now), "%Y-%m-%d %H:%M:%SZ", &tm);
	buf_addf(&description, "AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", number,
		 text, trace, correlation, now);
	buf_addf(b, "{\"error\":\"%s\",\"error_description\":", error);
	json_add_text(b, buf_str(&description), description.len);
	buf_addf(b,
		 ",\"error_codes\":[%d],\"timestamp\":\"%s\",\"trace_id\":\"%s\","
		 "\"correlation_id\":\"%s\"}",
		 number, now, trace, correlation);
}

void entra_error(struct exchange *x, enum entra_error error, const char *about)
{
	char text[ERR_MSG_MAX];
	const char *form = table[error].text, *at = strstr(form, "%s");

	if (at)
		snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - form), form, about ? about : "",
			 at + 2);
	else
		snprintf(text, sizeof(text), "%s", form);
	buf_reset(&x->reply->body);
	x->reply->status = table[error].status;
	add_body(&x->reply->body, table[error].error, table[error].number, text);
}

void entra_reply_error(struct buf *body, int status, const char *message)
{
	if (status == 429)
		add_body(body, "temporarily_unavailable", 90055, message);
	else if (status >= 500)
		add_body(body, status == 503 ? "temporarily_unavailable" : "server_error", 90033,
			 message);
	else
		add_body(body, status == 401 ? "invalid_client" : "invalid_request", 900144,
			 message);
}

void entra_reply_headers(struct emu_reply *r)
{
	char id[GUID_SIZE];

	emu_reply_header(r, "Cache-Control", "no-store, no-cache");
	emu_reply_header(r, "Pragma", "no-cache");
	emu_reply_header(r, "Expires", "-1");
	emu_reply_header(r, "X-Content-Type-Options", "nosniff");
	emu_reply_header(r, "x-ms-ests-server", "mlenvfs");
	if (guid_new(id) == 0)
		emu_reply_header(r, "x-ms-request-id", "%s", id);
}
