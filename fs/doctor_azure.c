/* The part of doctor that asks Azure: token, subscription, workspaces, storage. */
#include "fs/doctor.h"

#include <errno.h>
#include <string.h>

#include "client/arm_check.h"
#include "client/clock.h"
#include "client/credential.h"

enum { NAMES_SHOWN = 8, STORES_CHECKED = 3 };

static void begin(struct doctor *d, struct call *call)
{
	call_init(call, clock_mono() + (int64_t)(d->options->timeout * (double)NS_PER_S),
		  CALL_INTERACTIVE);
}

/* ---- token ---- */

static int check_scope(struct doctor *d, const char *scope, const char *what)
{
	struct buf token = BUF_INIT(CREDENTIAL_TOKEN_MAX);
	struct err e = ERR_INIT;
	const char *by;
	struct call call;
	int rc;

	begin(d, &call);
	rc = credential_get_token(d->credential, scope, &call, &token, &e);
	call_destroy(&call);
	by = auth_winner(d->credential);
	if (rc) {
		doctor_say(d, "fail", "token", "none for %s: %s", what, err_text(&e, rc));
		doctor_advise(rc == -EACCES
				      ? "sign in with 'az login' or 'mlenvfs login', or set the "
					"variables of an application; -o credential=NAME tries one "
					"way only (docs/auth.md)"
				      : "see above: the sign-in endpoint could not be asked");
	} else if (!token.len) {
		doctor_say(d, "ok", "token", "requests go without one");
	} else {
		doctor_say(d, "ok", "token", "for %s, by %s", what, by ? by : "AZURE_ACCESS_TOKEN");
	}
	buf_wipe(&token);
	return rc;
}

bool doctor_check_token(struct doctor *d)
{
	return !check_scope(d, SCOPE_ARM, "the Resource Manager");
}

/* ---- subscription ---- */

bool doctor_check_subscription(struct doctor *d)
{
	_cleanup_buf_ struct buf name = BUF_INIT(ERR_MSG_MAX);
	struct err e = ERR_INIT;
	struct call call;
	int rc;

	if (d->settings.uri.registry)
		return true;
	begin(d, &call);
	rc = arm_check_subscription(d->source, &call, &name, &e);
	call_destroy(&call);
	if (!rc) {
		doctor_say(d, "ok", "subscription", "%s", buf_str(&name));
		return true;
	}
	if (rc == -EPERM || rc == -EOPNOTSUPP) {
		doctor_say(d, "skip", "subscription", "it can't be looked at as a whole (%s)",
			   e.msg);
		return true;
	}
	doctor_say(d, "fail", "subscription", "%s", err_text(&e, rc));
	if (rc == -ENOENT)
		doctor_advise("check the subscription's id; when it is right, you are signed in to "
			      "another tenant ('az login --tenant', 'mlenvfs login --tenant'), or "
			      "to another cloud (-o cloud)");
	else if (rc == -EACCES)
		doctor_advise("the token is refused: sign in again, and to the tenant of this "
			      "subscription");
	return false;
}

/* ---- workspaces ---- */

static void add_names(const struct scope_list *list, struct buf *out, size_t *n)
{
	*n = list->count;
	for (size_t i = 0; i < list->count && i < NAMES_SHOWN; i++)
		buf_addf(out, "%s%s%s", i ? ", " : "",
			 list->items[i]->kind == SCOPE_REGISTRY ? "@" : "", list->items[i]->name);
	if (list->count > NAMES_SHOWN)
		buf_addstr(out, ", ...");
}

bool doctor_check_workspaces(struct doctor *d)
{
	_cleanup_buf_ struct buf names = BUF_INIT(64 * 1024);
	struct err e = ERR_INIT;
	struct call call;
	size_t n;
	int rc;

	begin(d, &call);
	rc = d->source->ops->list_scopes(d->source, &call, &d->scopes, &e);
	call_destroy(&call);
	if (rc) {
		doctor_say(d, "fail", "workspace", "%s", err_text(&e, rc));
		if (rc == -EACCES)
			doctor_advise(
				"whoever is signed in needs a role there, such as 'AzureML Data "
				"Scientist', or 'Reader' for a mount that only reads");
		else if (rc == -ENOENT)
			doctor_advise("check the names of the workspace and its resource group");
		return false;
	}
	add_names(d->scopes, &names, &n);
	if (n) {
		doctor_say(d, "ok", "workspace", "%zu: %s", n, buf_str(&names));
		return true;
	}
	doctor_say(d, "warn", "workspace", "there is none that you may see");
	doctor_advise("make one ('az ml workspace create'), or ask for a role on one; the mount "
		      "would be empty");
	return true;
}

/* ---- storage ---- */

static void check_store(struct doctor *d, struct scope *scope)
{
	_cleanup_buf_ struct buf where = BUF_INIT(ERR_MSG_MAX);
	struct err e = ERR_INIT;
	struct call call;
	int rc;

	begin(d, &call);
	rc = arm_check_storage(d->source, scope, &call, &where, &e);
	call_destroy(&call);
	if (!rc) {
		doctor_say(d, "ok", "storage", "%s: %s", scope->name, buf_str(&where));
		return;
	}
	doctor_say(d, "fail", "storage", "%s: %s%s%s", scope->name, buf_str(&where),
		   where.len ? ": " : "", err_text(&e, rc));
	doctor_advise(
		rc == -EACCES
			? "build contexts can't be read: the role 'Storage Blob Data Reader' "
			  "(Contributor to make versions) on the storage account, or a role "
			  "that may list the datastore's secrets, is needed; the account's "
			  "firewall must let this machine in"
			: "build contexts can't be read: the storage account must be reachable "
			  "from here (firewall, private endpoint)");
}

void doctor_check_storage(struct doctor *d)
{
	int checked = 0;

	for (size_t i = 0; i < d->scopes->count && checked < STORES_CHECKED; i++) {
		if (d->scopes->items[i]->kind != SCOPE_WORKSPACE)
			continue;
		check_store(d, d->scopes->items[i]);
		checked++;
	}
	if (checked == STORES_CHECKED && d->scopes->count > STORES_CHECKED)
		doctor_say(d, "skip", "storage", "of the other workspaces");
}
