#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/cachedir.h"
#include "cache/catalog_int.h"
#include "cache/store_int.h"
#include "client/clock.h"

enum { DOUBT_NAME_SIZE = SUM_NAME_SIZE + 48, FOREIGN_MAX = 65536 };

/* A doubt's file: NAME.PID.NUMBER, where NAME says which list is meant. */
static void doubt_name(const struct sum *of, uint64_t number, char out[DOUBT_NAME_SIZE])
{
	char name[SUM_NAME_SIZE];

	sum_name(of, name);
	snprintf(out, DOUBT_NAME_SIZE, "%s.%ld.%" PRIu64, name, (long)getpid(), number);
}

/* Which list a name means; false: it is none. */
static bool parse_name(const char *file, char name[SUM_NAME_SIZE], long *pid)
{
	if (strlen(file) <= SUM_NAME_SIZE || file[SUM_NAME_SIZE - 1] != '.')
		return false;
	memcpy(name, file, SUM_NAME_SIZE - 1);
	name[SUM_NAME_SIZE - 1] = '\0';
	*pid = strtol(file + SUM_NAME_SIZE, NULL, 10);
	return sum_is_name(name) && *pid > 0;
}

static void doubt_free(struct store_doubt *d)
{
	free(d->name);
	free(d);
}

void doubts_free(struct store *s)
{
	while (s->doubts) {
		struct store_doubt *next = s->doubts->next;

		doubt_free(s->doubts);
		s->doubts = next;
	}
}

/* ---- those that were there before ---- */

static int add_foreign(struct store *s, const char *file)
{
	struct store_doubt *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->name = strdup(file);
	d->foreign = d->ended = true;
	d->next = s->doubts;
	if (!d->name) {
		free(d);
		return -ENOMEM;
	}
	s->doubts = d;
	return 0;
}

int doubts_read(struct store *s)
{
	_cleanup_names_ DIR *names = cachedir_names(s->doubts_dir);
	int rc = names ? 0 : -errno, n = 0;
	char name[SUM_NAME_SIZE];
	const char *file;
	long pid;

	/* Another process of this number may have left some: in a container, all have it. */
	s->next_doubt = (uint64_t)clock_wall();
	while (!rc && n < FOREIGN_MAX && (file = cachedir_next(names))) {
		if (!parse_name(file, name, &pid)) {
			(void)cachedir_remove(s->doubts_dir, file);
			continue;
		}
		rc = add_foreign(s, file);
		n++;
	}
	return rc;
}

static bool is_of(const struct store_doubt *d, const struct sum *of, const char *name)
{
	if (d->foreign)
		return strncmp(d->name, name, SUM_NAME_SIZE - 1) == 0;
	return sum_equal(&d->of, of);
}

/* Only what other processes left counts: this one knows what it has changed. */
bool doubt_of(struct store *s, const struct buf *key)
{
	char name[SUM_NAME_SIZE];
	bool found = false;
	struct sum of;

	if (sum_of(key->data, key->len, &of))
		return true;
	sum_name(&of, name);
	pthread_mutex_lock(&s->lock);
	for (const struct store_doubt *d = s->doubts; d && !found; d = d->next)
		found = d->foreign && is_of(d, &of, name);
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* ---- the ones of this process ---- */

/* Not synced: it is for the end of this process, not for that of the machine. */
static int make_file(struct store *s, const char *name)
{
	int fd = openat(s->doubts_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

struct store_doubt *store_doubt_begin(struct store *s, const struct store_list *l)
{
	_cleanup_buf_ struct buf key = BUF_INIT(CATALOG_KEY_MAX);
	struct store_doubt *d = calloc(1, sizeof(*d));
	char name[DOUBT_NAME_SIZE];
	uint64_t number;

	if (!d || store_list_key(&key, l) || sum_of(key.data, key.len, &d->of)) {
		free(d);
		return NULL;
	}
	pthread_mutex_lock(&s->lock);
	number = s->next_doubt++;
	d->since = s->written;
	pthread_mutex_unlock(&s->lock);
	doubt_name(&d->of, number, name);
	d->name = strdup(name);
	if (!d->name || make_file(s, name)) {
		doubt_free(d);
		return NULL;
	}
	pthread_mutex_lock(&s->lock);
	d->next = s->doubts;
	s->doubts = d;
	pthread_mutex_unlock(&s->lock);
	return d;
}

static void doubt_unlink(struct store *s, struct store_doubt *d)
{
	struct store_doubt **at = &s->doubts;

	while (*at && *at != d)
		at = &(*at)->next;
	if (*at)
		*at = d->next;
}

/* Its file goes when all that is queued before is written. */
static void clear_later(struct store *s, struct store_doubt *d)
{
	struct job *j = job_new(JOB_CLEAR, NULL);

	if (j) {
		j->doubt = steal_ptr(&d->name);
		j->since = d->since;
	}
	job_add(s, j);
	doubt_free(d);
}

void store_doubt_end(struct store *s, struct store_doubt *doubt_take, bool settled)
{
	struct store_doubt *d = doubt_take;

	if (!d)
		return;
	pthread_mutex_lock(&s->lock);
	d->ended = true;
	if (settled)
		doubt_unlink(s, d);
	pthread_mutex_unlock(&s->lock);
	if (settled)
		clear_later(s, d);
}

void doubt_settle(struct store *s, const struct buf *key)
{
	struct store_doubt *settled = NULL, **at, *next;
	char name[SUM_NAME_SIZE];
	struct sum of;

	if (sum_of(key->data, key->len, &of))
		return;
	sum_name(&of, name);
	pthread_mutex_lock(&s->lock);
	for (at = &s->doubts; *at;) {
		struct store_doubt *d = *at;

		if (!d->ended || !is_of(d, &of, name)) {
			at = &d->next;
			continue;
		}
		*at = d->next;
		d->next = settled;
		settled = d;
	}
	pthread_mutex_unlock(&s->lock);
	for (; settled; settled = next) {
		next = settled->next;
		clear_later(s, settled);
	}
}

/* One of another process that still runs is its own to remove. */
void doubt_clear(struct store *s, const struct job *j)
{
	char list[SUM_NAME_SIZE];
	bool lost;
	long pid;

	pthread_mutex_lock(&s->lock);
	lost = j->since < s->lost_at;
	pthread_mutex_unlock(&s->lock);
	if (lost || (parse_name(j->doubt, list, &pid) && pid != getpid() &&
		     (kill((pid_t)pid, 0) == 0 || errno != ESRCH)))
		return;
	unlinkat(s->doubts_dir, j->doubt, 0);
}
