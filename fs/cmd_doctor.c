/* cmd_doctor - mlenvfs doctor: the checks of doctor.h, in the order in which they build on another.
 */
#include "fs/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/arm.h"
#include "client/cleanup.h"
#include "client/log.h"
#include "client/redact.h"
#include "client/url.h"
#include "fs/doctor.h"
#include "fs/paths.h"

const char cmd_doctor_help[] =
	"usage: mlenvfs doctor [-o OPTIONS] [SOURCE]\n"
	"\n"
	"Tries everything that 'mlenvfs mount -o OPTIONS SOURCE' (azure when no SOURCE is given)\n"
	"needs, step by step: settings, name resolution, TLS, token, subscription, workspaces,\n"
	"storage, and this machine's FUSE. Says what fails and what to do. Nothing is changed, "
	"and\n"
	"no secret is shown. The exit status is 1 when something fails.\n";

enum { LINE_MAX_BYTES = 2048 };

/* ---- what is printed ---- */

static void print_line(const char *how, const char *what, const char *fmt, va_list ap)
{
	char text[LINE_MAX_BYTES];

	vsnprintf(text, sizeof(text), fmt, ap);
	redact(text);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	printf("%-5s %-13s %s\n", how, what, text);
	fflush(stdout);
}

void doctor_say(struct doctor *d, const char *how, const char *what, const char *fmt, ...)
{
	va_list ap;

	d->failed += strcmp(how, "fail") == 0;
	d->warned += strcmp(how, "warn") == 0;
	va_start(ap, fmt);
	print_line(how, what, fmt, ap);
	va_end(ap);
}

void doctor_advise(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_line("", "  what to do:", fmt, ap);
	va_end(ap);
}

/* ---- setting up ---- */

static void add_part(struct buf *b, const char *what, const char *name)
{
	if (name)
		buf_addf(b, "%s%s %s", b->len ? ", " : "", what, name);
}

static void say_settings(struct doctor *d)
{
	_cleanup_buf_ struct buf place = BUF_INIT(LINE_MAX_BYTES);
	const struct settings *s = &d->settings;
	const struct source_uri *u = &s->uri;

	if (!s->endpoint) {
		doctor_say(d, "ok", "settings", "the embedded service, in the mount itself");
		return;
	}
	add_part(&place, "registry", u->registry);
	add_part(&place, "workspace", u->workspace);
	add_part(&place, "resource group", u->resource_group);
	add_part(&place, "subscription", u->subscription);
	doctor_say(d, "ok", "settings", "%s%s%s%s", buf_str(&place), s->from ? " (from " : "",
		   s->from ? s->from : "", s->from ? ")" : "");
	doctor_say(d, "ok", "settings", "%s at %s", s->cloud->name, s->endpoint);
}

static bool open_settings(struct doctor *d)
{
	struct err e = ERR_INIT;
	int rc = auth_env_take(&d->env, &e);

	if (!rc)
		rc = settings_resolve(d->options, &d->env, &d->settings, &e);
	if (rc)
		doctor_say(d, "fail", "settings", "%s", err_text(&e, rc));
	else
		say_settings(d);
	return !rc;
}

static bool open_parts(struct doctor *d)
{
	_cleanup_free_ char *login_file = paths_login();
	const struct settings *s = &d->settings;
	struct auth_conf auth = settings_auth(s, d->options, &d->env, login_file);
	struct http_conf http = {.ca_file = d->options->cafile};
	struct arm_conf arm = {.endpoint = s->endpoint,
			       .subscription = s->uri.subscription,
			       .resource_group = s->uri.resource_group,
			       .workspace = s->uri.workspace,
			       .api_version = d->options->api_version,
			       .ca_file = d->options->cafile};
	struct err e = ERR_INIT;
	int rc = http_new(&http, &d->http, &e);

	if (!rc)
		rc = auth_new(&auth, &d->env, &d->credential, &e);
	arm.credential = d->credential;
	if (s->uri.registry) {
		arm.registries = (const char *const *)&s->uri.registry;
		arm.n_registries = 1;
	}
	if (!rc)
		rc = arm_source_new(&arm, &d->source, &e);
	if (rc)
		doctor_say(d, "fail", "settings", "%s", err_text(&e, rc));
	return !rc;
}

static void close_all(struct doctor *d)
{
	scope_list_unref(d->scopes);
	if (d->source)
		source_free(d->source);
	credential_free(d->credential);
	http_free(d->http);
	settings_clear(&d->settings);
	auth_env_clear(&d->env);
}

/* ---- the order ---- */

/* Whether anybody asks the authority: a token that was given, or none, needs no sign-in. */
static bool asks_authority(const struct doctor *d)
{
	enum auth_kind kind = d->options->credential;

	if (auth_env_get(&d->env, AUTH_ACCESS_TOKEN) &&
	    (kind == AUTH_DEFAULT || kind == AUTH_TOKEN))
		return false;
	return kind != AUTH_NONE && kind != AUTH_MANAGED_IDENTITY && !d->settings.uri.embedded;
}

/* These ask it themselves; a managed identity or the Azure CLI have ways of their own. */
static bool needs_authority(enum auth_kind kind)
{
	return kind == AUTH_ENVIRONMENT || kind == AUTH_WORKLOAD_IDENTITY || kind == AUTH_LOGIN;
}

static bool check_servers(struct doctor *d)
{
	_cleanup_buf_ struct buf authority = BUF_INIT(URL_MAX);
	bool needed = needs_authority(d->options->credential), ok = true;
	struct err e = ERR_INIT;

	if (asks_authority(d)) {
		if (auth_authority(&d->env, d->settings.cloud, &authority, &e)) {
			doctor_say(d, "fail", "settings", "%s", e.msg);
			return false;
		}
		ok = doctor_check_server(d, buf_str(&authority), needed) || !needed;
	}
	return doctor_check_server(d, d->settings.endpoint, true) && ok;
}

static void check_azure(struct doctor *d)
{
	if (!open_parts(d))
		return;
	if (!check_servers(d) || !doctor_check_token(d) || !doctor_check_subscription(d) ||
	    !doctor_check_workspaces(d)) {
		doctor_say(d, "skip", "the rest", "of what is in Azure: it needs what failed");
		return;
	}
	doctor_check_storage(d);
}

static int examine(const struct options *o)
{
	struct doctor d = {.options = o};

	log_set_level(o->log_level == LOG_LEVEL_INFO ? LOG_LEVEL_ERROR : o->log_level);
	if (open_settings(&d) && d.settings.endpoint)
		check_azure(&d);
	doctor_check_mount(&d);
	if (d.failed)
		printf("\n%u %s not work.\n", d.failed, d.failed == 1 ? "thing does" : "things do");
	else
		puts(d.warned ? "\nAll that is needed works." : "\nEverything works.");
	close_all(&d);
	return d.failed ? CMD_FAILED : CMD_OK;
}

int cmd_doctor(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	struct source_uri uri;
	struct options o;
	struct err e = ERR_INIT;
	int c, status = 0;

	options_init(&o);
	optind = 1;
	while (!status && (c = getopt_long(argc, argv, ":o:h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(cmd_doctor_help, stdout);
			options_clear(&o);
			return CMD_OK;
		}
		if (c != 'o')
			status = cmd_usage("doctor",
					   c == ':' ? "'%s' needs a value" : "unknown option '%s'",
					   argv[optind - 1]);
		else if (options_parse(&o, optarg, &e))
			status = cmd_usage("doctor", "%s", e.msg);
	}
	if (!status && argc - optind > 1)
		status = cmd_usage("doctor", "too many arguments: '%s'", argv[optind + 1]);
	if (!status)
		o.source = strdup(optind < argc ? argv[optind] : "azure");
	if (!status && source_uri_parse(o.source, &uri, &e))
		status = cmd_usage("doctor", "%s", e.msg);
	else if (!status)
		source_uri_clear(&uri);
	if (!status)
		status = examine(&o);
	options_clear(&o);
	return status;
}
