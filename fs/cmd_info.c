/* cmd_info - mlenvfs info: everything that is known of an environment version. */
#include "fs/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include <cjson/cJSON.h>

#include "client/cleanup.h"
#include "fs/xattr.h"

const char cmd_info_help[] =
	"usage: mlenvfs info [--json] PATH...\n"
	"\n"
	"Prints what the service knows of a version (a version's directory or its spec.yml):\n"
	"its description and tags, its id, who made it and when.\n"
	"\n"
	"      --json               for programs: one JSON object a line\n";

/* The value as a string to be freed; NULL when there is none (errno says why). */
static char *get(const char *path, const char *name)
{
	char *value = malloc(XATTR_VALUE_MAX + 1);
	ssize_t n = value ? getxattr(path, name, value, XATTR_VALUE_MAX) : -1;

	if (n < 0) {
		int saved = errno;

		free(value);
		errno = saved;
		return NULL;
	}
	value[n] = '\0';
	return value;
}

/* Adds one attribute, if it is there, under its name without "user.". */
static int add(cJSON *info, const char *path, const char *name)
{
	_cleanup_free_ char *value = get(path, name);

	if (!value)
		return errno == ENODATA || errno == EOPNOTSUPP || errno == E2BIG ? 0 : -errno;
	return cJSON_AddStringToObject(info, name + strlen(XATTR_USER), value) ? 0 : -ENOMEM;
}

static int collect(cJSON *info, const char *path)
{
	_cleanup_free_ char *names = malloc(XATTR_NAMES_MAX);
	ssize_t n = names ? listxattr(path, names, XATTR_NAMES_MAX) : -1;
	int rc = n < 0 ? -errno : 0;

	for (ssize_t at = 0; !rc && at < n; at += (ssize_t)strlen(names + at) + 1)
		rc = add(info, path, names + at);
	for (size_t i = 0; !rc && xattr_facts[i]; i++)
		rc = add(info, path, xattr_facts[i]);
	return rc;
}

static void print_text(const char *path, const cJSON *info)
{
	const cJSON *item;

	printf("%s\n", path);
	cJSON_ArrayForEach(item, info) {
		printf("  %-22s", item->string);
		for (const char *p = item->valuestring; *p; p++) {
			if (*p == '\n')
				printf("\n  %-22s", "");
			else
				putchar((unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p);
		}
		putchar('\n');
	}
}

static int show(const char *path, bool json)
{
	cJSON *info = cJSON_CreateObject();
	int rc = info ? collect(info, path) : -ENOMEM;
	char *line;

	if (rc) {
		cmd_complain("%s: %s", path, strerror(-rc));
	} else if (!cJSON_HasObjectItem(info, "azureml.id")) {
		cmd_complain("%s is not an environment version in an mlenvfs mount", path);
		rc = -ENODATA;
	} else if (json) {
		line = cJSON_PrintUnformatted(info);
		puts(line ? line : "");
		cJSON_free(line);
	} else {
		print_text(path, info);
	}
	cJSON_Delete(info);
	return rc ? CMD_FAILED : CMD_OK;
}

int cmd_info(int argc, char **argv)
{
	static const struct option longs[] = {
		{"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
	int status = CMD_OK, c;
	bool json = false;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(cmd_info_help, stdout);
			return CMD_OK;
		}
		if (c != 'j')
			return cmd_usage("info", "unknown option '%s'", argv[optind - 1]);
		json = true;
	}
	if (optind == argc)
		return cmd_usage("info", "of what? A path is missing");
	for (; optind < argc; optind++)
		if (show(argv[optind], json))
			status = CMD_FAILED;
	return status;
}
