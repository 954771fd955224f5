#include "fs/seen.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct opening {
	pid_t by;
	struct version *version;
};

struct seen {
	pthread_mutex_t lock;
	/* protected by lock */
	struct opening openings[SEEN_MAX]; /* a ring */
	unsigned int next;
};

struct seen *seen_new(void)
{
	struct seen *s = calloc(1, sizeof(*s));

	if (s)
		pthread_mutex_init(&s->lock, NULL);
	return s;
}

void seen_free(struct seen *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < SEEN_MAX; i++)
		version_unref(s->openings[i].version);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void seen_note(struct seen *s, pid_t by, struct version *v)
{
	struct version *old;
	struct opening *o;

	if (!s || !by || !v)
		return;
	pthread_mutex_lock(&s->lock);
	o = &s->openings[s->next];
	s->next = (s->next + 1) % SEEN_MAX;
	old = o->version;
	o->version = version_ref(v);
	o->by = by;
	pthread_mutex_unlock(&s->lock);
	version_unref(old);
}

/* A thread's process is looked up when it matters only: most files are read and never saved. */
static bool is_of(const struct opening *o, const struct proc_id *who)
{
	struct proc_id process;

	if (o->by == who->tgid)
		return true;
	return !proc_of_thread(o->by, &process) && proc_same(&process, who);
}

struct version *seen_find(struct seen *s, const struct proc_id *who, const char *env,
			  const char *version)
{
	struct version *found = NULL;

	if (!s || !who->tgid)
		return NULL;
	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 1; !found && i <= SEEN_MAX; i++) {
		const struct opening *o = &s->openings[(s->next + SEEN_MAX - i) % SEEN_MAX];

		if (o->version && strcmp(o->version->version, version) == 0 &&
		    strcmp(o->version->env, env) == 0 && is_of(o, who))
			found = version_ref(o->version);
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}
