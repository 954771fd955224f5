/* cmd_status - mlenvfs status: what the mounts say about themselves. */
#include "fs/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "client/cleanup.h"

enum { PLENTY = 1000 }; /* requests that the service answers still */

const char cmd_status_help[] =
	"usage: mlenvfs status [--json] [MOUNTPOINT...]\n"
	"\n"
	"Shows each mount: where it comes from, how old its lists are, what went wrong last;\n"
	"and what was written and is not published: drafts, refused saves, unsaved edits.\n"
	"Without MOUNTPOINT, all mounts of this machine.\n"
	"\n"
	"      --json               for programs: one JSON object a line\n";

static const char *text_of(const cJSON *o, const char *name)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));

	return s ? s : "-";
}

static double number_of(const cJSON *o, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

/* How we talk to the service, and how much more it answers before it throttles. */
static void print_service(const cJSON *s)
{
	const cJSON *service = cJSON_GetObjectItemCaseSensitive(s, "service");

	if (service)
		printf("  api-version %s\n", text_of(service, "api_version"));
	/* Plenty, of which nobody had to be kept, is nothing to tell. */
	if (!cJSON_HasObjectItem(service, "reads_left") ||
	    (number_of(service, "reads_left") > PLENTY && number_of(service, "held_back") == 0 &&
	     number_of(service, "gave_way") == 0 && number_of(service, "throttled") == 0))
		return;
	printf("  budget      %.0f reads left, %.0f of them kept for single looks; %.0f requests "
	       "held back, %.0f not made, %.0f throttled\n",
	       number_of(service, "reads_left"), number_of(service, "reserve"),
	       number_of(service, "held_back"), number_of(service, "gave_way"),
	       number_of(service, "throttled"));
}

/* What the service does in its own time. */
static void print_operations(const cJSON *s)
{
	const cJSON *service = cJSON_GetObjectItemCaseSensitive(s, "service"), *item;
	const char *head = "operations";

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(service, "operations")) {
		bool version = cJSON_HasObjectItem(item, "version");

		printf("  %-11s %s/%s%s%s: being %s for %.0f s, asked %.0f times: %s\n", head,
		       text_of(item, "scope"), text_of(item, "environment"), version ? "/" : "",
		       version ? text_of(item, "version") : "", text_of(item, "being"),
		       number_of(item, "seconds"), number_of(item, "polls"),
		       text_of(item, "state"));
		head = "";
	}
}

/* What is shown and may not be true any more. */
static void print_age(const cJSON *c)
{
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(c, "away")))
		printf("  offline     the service did not answer: what was known before is "
		       "shown\n");
	if (number_of(c, "unconfirmed") > 0)
		printf("  remembered  %.0f of %.0f lists are from an earlier mount, %.0f are being "
		       "asked for\n",
		       number_of(c, "unconfirmed"), number_of(c, "lists"), number_of(c, "behind"));
}

static void print_cache(const cJSON *c)
{
	if (cJSON_HasObjectItem(c, "off"))
		printf("  cache       none on the disk: %s\n", text_of(c, "off"));
	else if (c)
		printf("  cache       %s: %.0f found there, %.0f waiting to be written\n",
		       text_of(c, "directory"), number_of(c, "found"), number_of(c, "waiting"));
}

static void print_text(const char *path, const cJSON *s)
{
	const cJSON *c = cJSON_GetObjectItemCaseSensitive(s, "catalog");

	printf("%s\n", path);
	printf("  source      %s (%s)\n", text_of(s, "source"), text_of(s, "endpoint"));
	printf("  process     %.0f, mlenvfs %s, since %.19s UTC\n", number_of(s, "pid"),
	       text_of(s, "version"), text_of(s, "mounted_at"));
	printf("  lists       oldest in use %.0f s, fresh for %.0f s\n",
	       number_of(c, "oldest_age_s"), number_of(s, "refresh_s"));
	printf("  requests    %.0f made, %.0f saved, %.0f ahead of need\n", number_of(c, "flights"),
	       number_of(c, "hits") + number_of(c, "joined"), number_of(c, "prefetched"));
	print_service(s);
	print_age(c);
	print_cache(cJSON_GetObjectItemCaseSensitive(s, "cache"));
	if (number_of(c, "stale") > 0)
		printf("  stale       %.0f answers from old lists: the service did not answer\n",
		       number_of(c, "stale"));
	if (cJSON_HasObjectItem(c, "last_error"))
		printf("  last error  %.19s UTC: %s\n", text_of(c, "last_error_at"),
		       text_of(c, "last_error"));
}

static void print_list(const char *path, const cJSON *s, const char *what)
{
	const cJSON *item;
	const char *head = what;

	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(s, what)) {
		const cJSON *reason = cJSON_GetObjectItemCaseSensitive(item, "reason");

		printf("  %-11s %s%s%s%s%s\n", head, strcmp(what, "publishing") == 0 ? "" : path,
		       strcmp(what, "publishing") == 0 ? "" : "/", text_of(item, "path"),
		       reason ? ": " : "", reason ? text_of(item, "reason") : "");
		head = "";
	}
}

/* What was written and is not published. */
static void print_pending(const char *path, const cJSON *s)
{
	static const char *const lists[] = {"publishing", "unsaved", "drafts", "rejected"};

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		print_list(path, s, lists[i]);
	if (number_of(s, "more") > 0)
		printf("              and %.0f more\n", number_of(s, "more"));
}

static int show(const char *given, bool json)
{
	struct err e = ERR_INIT;
	_cleanup_free_ char *path = cmd_real_path(given, &e);
	_cleanup_free_ char *text = NULL;
	cJSON *status;

	if (!path || cmd_read_status(path, &text, &e)) {
		cmd_complain("%s", e.msg);
		return CMD_FAILED;
	}
	status = cJSON_Parse(text);
	if (!status) {
		cmd_complain("the status of %s can't be understood", path);
		return CMD_FAILED;
	}
	if (json) {
		char *line;

		cJSON_AddStringToObject(status, "mountpoint", path);
		line = cJSON_PrintUnformatted(status);
		puts(line ? line : "");
		cJSON_free(line);
	} else {
		print_text(path, status);
		print_operations(status);
		print_pending(path, status);
	}
	cJSON_Delete(status);
	return CMD_OK;
}

static int show_all(bool json)
{
	struct err e = ERR_INIT;
	struct cmd_mounted *mounts;
	int status = CMD_OK;
	size_t n;

	if (cmd_mounts(&mounts, &n, &e)) {
		cmd_complain("%s", e.msg);
		return CMD_FAILED;
	}
	if (!n && !json)
		puts("Nothing is mounted. 'mlenvfs mount DIRECTORY' mounts the embedded service.");
	for (size_t i = 0; i < n; i++)
		if (show(mounts[i].mountpoint, json))
			status = CMD_FAILED;
	cmd_mounts_free(mounts, n);
	return status;
}

int cmd_status(int argc, char **argv)
{
	static const struct option longs[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	int status = CMD_OK, c;
	bool json = false;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(cmd_status_help, stdout);
			return CMD_OK;
		}
		if (c != 'j')
			return cmd_usage("status", "unknown option '%s'", argv[optind - 1]);
		json = true;
	}
	if (optind == argc)
		return show_all(json);
	for (; optind < argc; optind++)
		if (show(argv[optind], json))
			status = CMD_FAILED;
	return status;
}
