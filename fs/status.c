#include "fs/status.h"

#include <errno.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "cache/catalog.h"
#include "client/clock.h"
#include "fs/disk.h"
#include "fs/node.h"
#include "fs/pending.h"
#include "fs/upcalls.h"

static void add_catalog(cJSON *o, const struct catalog_stats *s)
{
	cJSON *c = cJSON_AddObjectToObject(o, "catalog");

	cJSON_AddNumberToObject(c, "hits", (double)s->hits);
	cJSON_AddNumberToObject(c, "flights", (double)s->flights);
	cJSON_AddNumberToObject(c, "joined", (double)s->joined);
	cJSON_AddNumberToObject(c, "prefetched", (double)s->prefetched);
	cJSON_AddNumberToObject(c, "bulk", (double)s->bulk);
	cJSON_AddNumberToObject(c, "stale", (double)s->stale);
	cJSON_AddNumberToObject(c, "errors", (double)s->errors);
	cJSON_AddNumberToObject(c, "remembered", (double)s->remembered);
	cJSON_AddNumberToObject(c, "recalled", (double)s->recalled);
	cJSON_AddNumberToObject(c, "lists", (double)s->lists);
	cJSON_AddNumberToObject(c, "unconfirmed", (double)s->unconfirmed);
	cJSON_AddNumberToObject(c, "behind", (double)s->behind);
	cJSON_AddBoolToObject(c, "away", s->away);
	cJSON_AddNumberToObject(c, "content_bytes", (double)s->content_bytes);
	cJSON_AddNumberToObject(c, "oldest_age_s", (double)s->oldest_age / (double)NS_PER_S);
	if (s->last_error[0]) {
		char when[CLOCK_ISO_SIZE];

		clock_format_iso(s->last_error_at, when);
		cJSON_AddStringToObject(c, "last_error", s->last_error);
		cJSON_AddStringToObject(c, "last_error_at", when);
	}
}

/* What the source says of itself, where it says anything. */
static int add_service(cJSON *o, struct source *source)
{
	cJSON *about = NULL;
	int rc = source->ops->about ? source->ops->about(source, &about) : 0;

	if (rc || !about)
		return rc;
	if (cJSON_AddItemToObject(o, "service", about))
		return 0;
	cJSON_Delete(about);
	return -ENOMEM;
}

static void add_upcalls(cJSON *o, struct upcalls *u)
{
	cJSON *asked = cJSON_AddObjectToObject(o, "upcalls");
	cJSON *told = cJSON_AddObjectToObject(o, "notices");

	for (int i = 0; u && i < UPCALL_KINDS; i++) {
		unsigned long long n = atomic_load(&u->count[i]);

		if (n)
			cJSON_AddNumberToObject(i < UPCALL_FIRST_NOTICE ? asked : told,
						upcall_name((enum upcall)i), (double)n);
	}
}

int status_json(struct fsys *fs, struct buf *out)
{
	struct catalog_stats stats;
	char when[CLOCK_ISO_SIZE];
	cJSON *o = cJSON_Parse(fs->about);
	char *text;
	int rc = -ENOMEM;

	if (!o)
		return -ENOMEM;
	clock_format_iso(fs->started, when);
	catalog_get_stats(fs->catalog, &stats);
	cJSON_AddStringToObject(o, "version", MLENVFS_VERSION);
	cJSON_AddNumberToObject(o, "pid", getpid());
	cJSON_AddStringToObject(o, "mounted_at", when);
	cJSON_AddNumberToObject(o, "inodes", (double)node_count(fs->nodes));
	add_catalog(o, &stats);
	add_upcalls(o, fs->upcalls);
	if (add_service(o, fs->source) || disk_status(fs->disk, o) || pending_add(fs, o)) {
		cJSON_Delete(o);
		return -ENOMEM;
	}
	text = cJSON_PrintUnformatted(o);
	if (text)
		rc = buf_addstr(out, text);
	cJSON_free(text);
	cJSON_Delete(o);
	return rc;
}
