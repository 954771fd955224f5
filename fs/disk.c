#include "fs/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/log.h"
#include "fs/node.h"
#include "fs/paths.h"

struct disk {
	struct store *store;
	char *dir;
	char why[ERR_MSG_MAX]; /* there is no store */
};

static const char about_key[] = "about";

/* As drafts: by the service, whichever directory it is mounted at. */
static int name_of(const struct backend *b, char **out)
{
	uint64_t number = node_number(0, NODE_LOCAL, backend_identity(b));

	return asprintf(out, "%016llx", (unsigned long long)number) < 0 ? -ENOMEM : 0;
}

static void open_store(struct disk *d, const struct options *o, const char *name)
{
	const struct store_conf conf = {.dir = d->dir, .name = name, .max = o->cache_size};
	struct err e = ERR_INIT;
	int rc = store_open(&conf, &d->store, &e);

	if (!rc)
		return;
	snprintf(d->why, sizeof(d->why), "%s", err_text(&e, rc));
	log_warn("op=cache dir=%s error=\"nothing is kept on the disk: %s\"", d->dir, d->why);
}

int disk_open(const struct options *o, const struct backend *b, struct disk **out)
{
	_cleanup_free_ char *name = NULL;
	struct disk *d = calloc(1, sizeof(*d));
	const char *identity = backend_identity(b);

	*out = d;
	if (!d)
		return -ENOMEM;
	d->dir = o->cache_dir ? strdup(o->cache_dir) : paths_cache();
	if (!d->dir || name_of(b, &name)) {
		name = NULL;
		return -ENOMEM;
	}
	if (!o->cache_size)
		snprintf(d->why, sizeof(d->why), "switched off by cache_size=0");
	else if (backend_is_embedded(b))
		snprintf(d->why, sizeof(d->why),
			 "not needed: the embedded service is in this process");
	else
		open_store(d, o, name);
	if (d->store)
		store_put_fact(d->store, about_key, strlen(about_key), identity, strlen(identity));
	return 0;
}

void disk_close(struct disk *d)
{
	if (!d)
		return;
	store_close(d->store);
	free(d->dir);
	free(d);
}

struct store *disk_store(const struct disk *d)
{
	return d->store;
}

int disk_status(const struct disk *d, cJSON *status)
{
	cJSON *c = d ? cJSON_AddObjectToObject(status, "cache") : NULL;
	struct store_stats s;

	if (!d)
		return 0;
	if (!c || !cJSON_AddStringToObject(c, "directory", d->dir))
		return -ENOMEM;
	if (!d->store)
		return cJSON_AddStringToObject(c, "off", d->why) ? 0 : -ENOMEM;
	store_get_stats(d->store, &s);
	cJSON_AddNumberToObject(c, "found", (double)s.read);
	cJSON_AddNumberToObject(c, "rows_written", (double)s.written);
	cJSON_AddNumberToObject(c, "content_written", (double)s.content);
	cJSON_AddNumberToObject(c, "evicted", (double)s.evicted);
	cJSON_AddNumberToObject(c, "waiting", (double)s.queued);
	cJSON_AddNumberToObject(c, "damaged", (double)s.damaged);
	cJSON_AddNumberToObject(c, "lost", (double)s.lost);
	if (s.off && !cJSON_AddStringToObject(c, "off", "its database was damaged, see the log"))
		return -ENOMEM;
	return 0;
}
