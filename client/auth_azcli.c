#include "client/auth_azcli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "client/child.h"
#include "client/clock.h"
#include "client/jsonwipe.h"
#include "client/redact.h"

enum { STATUS_NOT_FOUND = 127, WORDS_MAX = 200, ARGS_MAX = 10, SUBSCRIPTION_MAX = 128 };

struct azcli {
	struct auth_source base;
	char *subscription;
};

static struct azcli *azcli_of(struct auth_source *s)
{
	return (struct azcli *)s;
}

static void azcli_free(struct auth_source *s)
{
	free(azcli_of(s)->subscription);
	free(s);
}

/* What goes into the arguments: nothing that az could take for an option or anything else. */
static bool is_plain(const char *text)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:/";

	return *text && *text != '-' && !text[strspn(text, allowed)];
}

/* Its first line. */
static void first_line(struct buf *said, char out[WORDS_MAX])
{
	char *text = said->data;

	out[0] = '\0';
	if (!text)
		return;
	text += strspn(text, " \t\r\n");
	text[strcspn(text, "\r\n")] = '\0';
	redact_words(text, out, WORDS_MAX);
}

static int az_error(int status, struct buf *said, struct err *e)
{
	char words[WORDS_MAX];

	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NOT_FOUND)
		return err_set(e, AUTH_UNAVAILABLE, "the Azure CLI is not installed");
	if (strstr(buf_str(said), "az login") || strstr(buf_str(said), "az account set"))
		return err_set(e, AUTH_UNAVAILABLE,
			       "nobody is signed in to the Azure CLI: 'az login'");
	if (WIFSIGNALED(status))
		return err_set(e, -EACCES, "az was ended by signal %d", WTERMSIG(status));
	first_line(said, words);
	return err_set(e, -EACCES, "az failed: %s", *words ? words : "it does not say why");
}

static int read_answer(const struct buf *out, int64_t asked, struct auth_token *token,
		       struct err *e)
{
	static const struct auth_token_names names = {
		.token = "accessToken", .on = "expires_on", .date = "expiresOn"};
	cJSON *json = NULL;
	int rc = auth_json_parse(buf_str(out), out->len, &json, e);

	if (!rc)
		rc = auth_token_parse_json(json, &names, asked, clock_wall() / NS_PER_S, token, e);
	json_wipe(json);
	return rc ? err_prefix(e, rc, "az account get-access-token: ") : 0;
}

static int run_az(const struct azcli *a, const char *resource, struct call *call,
		  struct auth_token *token, struct err *e)
{
	static const char *const env[] = {"AZURE_CORE_NO_COLOR=true",
					  "AZURE_CORE_COLLECT_TELEMETRY=no", NULL};
	const char *argv[ARGS_MAX] = {
		"az", "account", "get-access-token", "--output", "json", "--resource", resource};
	struct buf out = BUF_INIT(AUTH_AZCLI_OUTPUT_MAX), said = BUF_INIT(AUTH_AZCLI_OUTPUT_MAX);
	struct child_spec spec = {.argv = argv, .env = env, .out = &out, .err = &said};
	int64_t asked = clock_boot(), deadline;
	int status = 0, rc;

	if (a->subscription) {
		argv[7] = "--subscription";
		argv[8] = a->subscription;
	}
	deadline = call_lower(call, clock_mono() + AUTH_AZCLI_TIMEOUT_S * NS_PER_S);
	rc = child_run(&spec, call, &status, e);
	call->deadline = deadline;
	if (rc == -ENOENT || rc == -EACCES)
		rc = err_set(e, AUTH_UNAVAILABLE, "the Azure CLI is not installed");
	else if (!rc && status)
		rc = az_error(status, &said, e);
	else if (!rc)
		rc = read_answer(&out, asked, token, e);
	buf_wipe(&out);
	buf_wipe(&said);
	return rc;
}

static int azcli_get(struct auth_source *s, const char *scope, struct call *call,
		     struct auth_token *out, struct err *e)
{
	size_t n = auth_resource_len(scope);
	char resource[256];

	if (n >= sizeof(resource))
		return err_set(e, -EINVAL, "the scope is too long for az");
	memcpy(resource, scope, n);
	resource[n] = '\0';
	if (!is_plain(resource))
		return err_set(e, -EINVAL, "the scope can't be given to az");
	return run_az(azcli_of(s), resource, call, out, e);
}

static const struct auth_source_ops azcli_ops = {.get = azcli_get, .free = azcli_free};

int auth_azcli_new(const char *subscription, struct auth_source **out, struct err *e)
{
	struct azcli *a;

	if (subscription && (!is_plain(subscription) || strlen(subscription) > SUBSCRIPTION_MAX))
		return err_set(e, -EINVAL, "'%.64s' is no subscription's id", subscription);
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(e, -ENOMEM, "no memory for signing in");
	a->base = (struct auth_source){.ops = &azcli_ops, .name = "azure-cli"};
	a->subscription = subscription ? strdup(subscription) : NULL;
	if (subscription && !a->subscription) {
		azcli_free(&a->base);
		return err_set(e, -ENOMEM, "no memory for signing in");
	}
	*out = &a->base;
	return 0;
}
