#include "client/operations.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"

struct left {
	char *resource;
	struct operation_left op;
	struct operation_note note; /* its strings owned */
};

struct operations {
	pthread_mutex_t lock;
	/* protected by lock */
	struct operation_note *first;
	struct left left[OPERATIONS_LEFT_MAX]; /* oldest first */
	size_t n_left;
};

void operation_left_clear(struct operation_left *o)
{
	free(o->url);
	*o = (struct operation_left){0};
}

int operations_new(struct operations **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	pthread_mutex_init(&(*out)->lock, NULL);
	return 0;
}

static void left_clear(struct left *l)
{
	free(l->resource);
	free((char *)(uintptr_t)l->note.scope);
	free((char *)(uintptr_t)l->note.env);
	free((char *)(uintptr_t)l->note.version);
	operation_left_clear(&l->op);
}

void operations_free(struct operations *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->n_left; i++)
		left_clear(&o->left[i]);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

/* ---- what is waited for ---- */

void operations_begin(struct operations *o, struct operation_note *n)
{
	n->since = clock_wall();
	pthread_mutex_lock(&o->lock);
	n->next = o->first;
	o->first = n;
	pthread_mutex_unlock(&o->lock);
}

void operations_polled(struct operations *o, struct operation_note *n, const char *state)
{
	pthread_mutex_lock(&o->lock);
	n->polls++;
	if (state)
		snprintf(n->state, sizeof(n->state), "%s", state);
	pthread_mutex_unlock(&o->lock);
}

void operations_end(struct operations *o, struct operation_note *n)
{
	struct operation_note **at = &o->first;

	pthread_mutex_lock(&o->lock);
	while (*at && *at != n)
		at = &(*at)->next;
	if (*at)
		*at = n->next;
	pthread_mutex_unlock(&o->lock);
}

static bool note_json(const struct operation_note *n, cJSON *array)
{
	double seconds = (double)(clock_wall() - n->since) / (double)NS_PER_S;
	cJSON *item = cJSON_CreateObject();
	bool ok = cJSON_AddStringToObject(item, "scope", n->scope) &&
		  cJSON_AddStringToObject(item, "environment", n->env) &&
		  (!n->version || cJSON_AddStringToObject(item, "version", n->version)) &&
		  cJSON_AddStringToObject(item, "being", n->participle) &&
		  (!n->state[0] || cJSON_AddStringToObject(item, "state", n->state)) &&
		  cJSON_AddNumberToObject(item, "seconds", (double)(int64_t)seconds) &&
		  cJSON_AddNumberToObject(item, "polls", n->polls) &&
		  cJSON_AddItemToArray(array, item);

	if (!ok)
		cJSON_Delete(item);
	return ok;
}

static bool is_recent(const struct left *l)
{
	return clock_mono() - l->op.at < OPERATIONS_LEFT_S * NS_PER_S;
}

int operations_json(struct operations *o, cJSON *array)
{
	bool ok = true;

	pthread_mutex_lock(&o->lock);
	for (const struct operation_note *n = o->first; n && ok; n = n->next)
		ok = note_json(n, array);
	for (size_t i = 0; i < o->n_left && ok; i++)
		ok = is_recent(&o->left[i]) ? note_json(&o->left[i].note, array) : true;
	pthread_mutex_unlock(&o->lock);
	return ok ? 0 : -ENOMEM;
}

/* ---- what nobody waits for ---- */

/* Under the lock. */
static size_t find(const struct operations *o, const char *resource)
{
	size_t i = 0;

	while (i < o->n_left && strcmp(o->left[i].resource, resource) != 0)
		i++;
	return i;
}

/* Under the lock. */
static void remove_at(struct operations *o, size_t at)
{
	left_clear(&o->left[at]);
	memmove(&o->left[at], &o->left[at + 1], (o->n_left - at - 1) * sizeof(o->left[0]));
	o->n_left--;
}

static bool copy_left(struct operation_left *to, const struct operation_left *from)
{
	*to = *from;
	to->url = from->url ? strdup(from->url) : NULL;
	return !from->url == !to->url;
}

/* The note with strings of its own; false when there is no memory. */
static bool copy_note(struct operation_note *to, const struct operation_note *from)
{
	*to = *from;
	to->next = NULL;
	to->scope = strdup(from->scope);
	to->env = strdup(from->env);
	to->version = from->version ? strdup(from->version) : NULL;
	return to->scope && to->env && !to->version == !from->version;
}

void operations_leave(struct operations *o, const char *resource, const struct operation_left *left,
		      const struct operation_note *n)
{
	struct left l = {.resource = strdup(resource)};
	bool copied = copy_note(&l.note, n);
	int64_t now = clock_mono();
	size_t at;

	/* Without it the resource is looked at as any other, and may be told to be missing. */
	if (!copied || !l.resource || !copy_left(&l.op, left)) {
		left_clear(&l);
		return;
	}
	pthread_mutex_lock(&o->lock);
	at = find(o, resource);
	if (at < o->n_left)
		remove_at(o, at);
	else if (o->n_left == OPERATIONS_LEFT_MAX)
		remove_at(o, 0);
	l.op.at = now;
	o->left[o->n_left++] = l;
	pthread_mutex_unlock(&o->lock);
}

bool operations_find(struct operations *o, const char *resource, struct operation_left *out)
{
	bool found;
	size_t at;

	*out = (struct operation_left){0};
	pthread_mutex_lock(&o->lock);
	at = find(o, resource);
	found = at < o->n_left && is_recent(&o->left[at]) && copy_left(out, &o->left[at].op);
	pthread_mutex_unlock(&o->lock);
	if (!found)
		operation_left_clear(out);
	return found;
}

void operations_forget(struct operations *o, const char *resource)
{
	size_t at;

	pthread_mutex_lock(&o->lock);
	at = find(o, resource);
	if (at < o->n_left)
		remove_at(o, at);
	pthread_mutex_unlock(&o->lock);
}
