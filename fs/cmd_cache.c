/* cmd_cache - mlenvfs cache: what is kept on the disk of what was read. */
#include "fs/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "cache/storedir.h"
#include "client/cleanup.h"
#include "client/clock.h"
#include "client/log.h"
#include "fs/options.h"
#include "fs/paths.h"

const char cmd_cache_help[] =
	"usage: mlenvfs cache [show|verify|prune|clear] [--dir DIR] [--size SIZE] [--json]\n"
	"\n"
	"What is kept on the disk, so that the next mount and work without a network have it:\n"
	"lists and definitions by service, and the content of build contexts.\n"
	"  show       what there is (the default)\n"
	"  verify     reads all of it, and removes what is damaged; status 1 when something was\n"
	"  prune      removes what is of no use, and the content that was not used for longest\n"
	"  clear      removes everything; drafts and what was saved are elsewhere\n"
	"Mounts may go on meanwhile. Nothing here is the only copy of anything.\n"
	"\n"
	"      --dir DIR            another directory than $XDG_CACHE_HOME/mlenvfs\n"
	"      --size SIZE          for prune: how much content is left, with K, M or G\n"
	"      --json               for programs: one JSON object a line\n";

static const struct {
	const char *name;
	enum storedir_op op;
} operations[] = {
	{"show", STOREDIR_SHOW},
	{"verify", STOREDIR_VERIFY},
	{"prune", STOREDIR_PRUNE},
	{"clear", STOREDIR_CLEAR},
};

#define N_OPERATIONS (sizeof(operations) / sizeof(*operations))

struct cache_call {
	enum storedir_op op;
	char *dir;
	uint64_t size;
	bool json;
	int status;
	int64_t damaged;
};

enum { SIZE_TEXT = 32 };

static const char *size_text(uint64_t bytes, char out[SIZE_TEXT])
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	double n = (double)bytes;
	size_t i = 0;

	while (n >= 1024 && i + 1 < sizeof(units) / sizeof(*units)) {
		n /= 1024;
		i++;
	}
	snprintf(out, SIZE_TEXT, i ? "%.1f %s" : "%.0f %s", n, units[i]);
	return out;
}

static void print_json(cJSON *o)
{
	char *line = cJSON_PrintUnformatted(o);

	puts(line ? line : "");
	cJSON_free(line);
	cJSON_Delete(o);
}

/* ---- what is known of a service ---- */

static void service_json(const struct storedir_service *s)
{
	cJSON *o = cJSON_CreateObject();
	char when[CLOCK_ISO_SIZE];

	cJSON_AddStringToObject(o, "service", s->about);
	cJSON_AddStringToObject(o, "name", s->name);
	if (s->error) {
		cJSON_AddStringToObject(o, "error", s->text);
	} else {
		cJSON_AddNumberToObject(o, "lists", (double)s->rows.lists);
		cJSON_AddNumberToObject(o, "items", (double)s->rows.items);
		cJSON_AddNumberToObject(o, "facts", (double)s->rows.facts);
		cJSON_AddNumberToObject(o, "bytes", (double)s->rows.bytes);
		cJSON_AddNumberToObject(o, "damaged", (double)s->rows.bad);
	}
	if (!s->error && s->rows.oldest) {
		clock_format_iso(s->rows.oldest, when);
		cJSON_AddStringToObject(o, "oldest", when);
	}
	print_json(o);
}

static void service_text(const struct storedir_service *s)
{
	char when[CLOCK_ISO_SIZE], size[SIZE_TEXT];

	printf("%s\n", *s->about ? s->about : s->name);
	printf("  lists       %lld, of %lld items; %s\n", (long long)s->rows.lists,
	       (long long)s->rows.items, size_text((uint64_t)s->rows.bytes, size));
	if (s->rows.oldest) {
		clock_format_iso(s->rows.oldest, when);
		printf("  oldest      %.19s UTC\n", when);
	}
	if (s->rows.bad)
		printf("  damaged     %lld, removed\n", (long long)s->rows.bad);
}

static void on_service(void *arg, const struct storedir_service *s)
{
	struct cache_call *call = arg;

	call->damaged += s->rows.bad;
	if (s->error)
		call->status = CMD_FAILED;
	if (call->json)
		service_json(s);
	else if (s->error)
		cmd_complain("%s: %s", *s->about ? s->about : s->name, s->text);
	else if (call->op != STOREDIR_CLEAR)
		service_text(s);
}

/* ---- content ---- */

static void content_json(const struct objects_report *r)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "service", "content of build contexts");
	cJSON_AddNumberToObject(o, "objects", (double)r->count);
	cJSON_AddNumberToObject(o, "bytes", (double)r->bytes);
	cJSON_AddNumberToObject(o, "removed", (double)r->removed);
	cJSON_AddNumberToObject(o, "damaged", (double)r->bad);
	print_json(o);
}

static void content_text(const struct cache_call *call, const struct objects_report *r)
{
	char size[SIZE_TEXT];

	printf("content of build contexts\n");
	printf("  pieces      %llu; %s\n", (unsigned long long)r->count, size_text(r->bytes, size));
	if (r->bad)
		printf("  damaged     %llu, removed\n", (unsigned long long)r->bad);
	if (call->op == STOREDIR_PRUNE)
		printf("  removed     %llu\n", (unsigned long long)r->removed);
}

static int run(struct cache_call *call)
{
	struct objects_report report;
	struct err e = ERR_INIT;
	int rc = storedir_services(call->dir, call->op, on_service, call, &e);

	if (rc == -ENOENT) {
		if (!call->json)
			printf("There is nothing in %s\n", call->dir);
		return CMD_OK;
	}
	if (!rc)
		rc = storedir_content(call->dir, call->op, call->size, &report, &e);
	if (rc) {
		cmd_complain("%s", e.msg);
		return CMD_FAILED;
	}
	call->damaged += (int64_t)report.bad;
	if (call->json)
		content_json(&report);
	else if (call->op != STOREDIR_CLEAR)
		content_text(call, &report);
	else
		printf("%s is empty now\n", call->dir);
	return call->op == STOREDIR_VERIFY && call->damaged ? CMD_FAILED : call->status;
}

/* ---- the command line ---- */

static int take_operation(struct cache_call *call, const char *word)
{
	for (size_t i = 0; i < N_OPERATIONS; i++) {
		if (strcmp(operations[i].name, word) == 0) {
			call->op = operations[i].op;
			return CMD_OK;
		}
	}
	return cmd_usage("cache", "'%s' is none of show, verify, prune and clear", word);
}

static int parse(struct cache_call *call, int argc, char **argv)
{
	static const struct option longs[] = {{"dir", required_argument, NULL, 'd'},
					      {"size", required_argument, NULL, 's'},
					      {"json", no_argument, NULL, 'j'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		switch (c) {
		case 'd':
			free(call->dir);
			call->dir = strdup(optarg);
			break;
		case 's':
			if (options_size(optarg, &call->size))
				return cmd_usage("cache", "'%s' is not a size", optarg);
			break;
		case 'j':
			call->json = true;
			break;
		case 'h':
			fputs(cmd_cache_help, stdout);
			return -1;
		case ':':
			return cmd_usage("cache", "'%s' needs a value", argv[optind - 1]);
		default:
			return cmd_usage("cache", "unknown option '%s'", argv[optind - 1]);
		}
	}
	if (argc - optind > 1)
		return cmd_usage("cache", "too many arguments: '%s'", argv[optind + 1]);
	return optind < argc ? take_operation(call, argv[optind]) : CMD_OK;
}

int cmd_cache(int argc, char **argv)
{
	struct cache_call call = {.size = UINT64_MAX, .dir = paths_cache()};
	int status = parse(&call, argc, argv);

	log_set_level(LOG_LEVEL_ERROR);
	if (!status && !call.dir)
		status = CMD_FAILED;
	if (!status)
		status = run(&call);
	free(call.dir);
	return status < 0 ? CMD_OK : status;
}
