#include "fs/freename.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"

enum { NAMES_MAX = 16, LIFE_S = 5 };

struct freenames {
	pthread_mutex_t lock;
	/* protected by lock */
	struct {
		char *key; /* NULL: none */
		int64_t until;
	} names[NAMES_MAX]; /* a ring */
	unsigned int next;
};

struct freenames *freenames_new(void)
{
	struct freenames *f = calloc(1, sizeof(*f));

	if (f)
		pthread_mutex_init(&f->lock, NULL);
	return f;
}

void freenames_free(struct freenames *f)
{
	if (!f)
		return;
	for (int i = 0; i < NAMES_MAX; i++)
		free(f->names[i].key);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

void freename_note(struct freenames *f, const char *key)
{
	char *copy = f ? strdup(key) : NULL;

	if (!copy)
		return; /* it is asked again */
	pthread_mutex_lock(&f->lock);
	free(f->names[f->next].key);
	f->names[f->next].key = copy;
	f->names[f->next].until = clock_mono() + LIFE_S * NS_PER_S;
	f->next = (f->next + 1) % NAMES_MAX;
	pthread_mutex_unlock(&f->lock);
}

bool freename_take(struct freenames *f, const char *key)
{
	int64_t now = clock_mono();
	bool found = false;

	if (!f)
		return false;
	pthread_mutex_lock(&f->lock);
	for (int i = 0; i < NAMES_MAX; i++) {
		if (!f->names[i].key || strcmp(f->names[i].key, key) != 0)
			continue;
		found |= f->names[i].until > now;
		free(f->names[i].key);
		f->names[i].key = NULL;
	}
	pthread_mutex_unlock(&f->lock);
	return found;
}
