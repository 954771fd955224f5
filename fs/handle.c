#include "fs/handle.h"

#include <pthread.h>
#include <stdlib.h>

#include "fs/tree.h"

struct handles {
	pthread_mutex_t lock;
	struct handle *first; /* protected by lock */
};

struct handles *handles_new(void)
{
	struct handles *hs = calloc(1, sizeof(*hs));

	if (hs)
		pthread_mutex_init(&hs->lock, NULL);
	return hs;
}

static void release(struct handle *h)
{
	listing_free(h->listing);
	free(h->text);
	free(h);
}

void handles_free(struct handles *hs)
{
	if (!hs)
		return;
	for (struct handle *h = hs->first, *next; h; h = next) {
		next = h->next;
		release(h);
	}
	pthread_mutex_destroy(&hs->lock);
	free(hs);
}

struct handle *handle_new(struct handles *hs)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	pthread_mutex_lock(&hs->lock);
	h->next = hs->first;
	h->link = &hs->first;
	if (h->next)
		h->next->link = &h->next;
	hs->first = h;
	pthread_mutex_unlock(&hs->lock);
	return h;
}

void handle_free(struct handles *hs, struct handle *h)
{
	pthread_mutex_lock(&hs->lock);
	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
	pthread_mutex_unlock(&hs->lock);
	release(h);
}
