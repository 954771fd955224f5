#include "fs/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "cache/builds.h"

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
	free(h->text);
	builds_unwatch(h->build);
	if (h->fd >= 0)
		close(h->fd);
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
	h->fd = -1;
	pthread_mutex_lock(&hs->lock);
	h->next = hs->first;
	h->link = &hs->first;
	if (h->next)
		h->next->link = &h->next;
	hs->first = h;
	pthread_mutex_unlock(&hs->lock);
	return h;
}

void handle_set_file(struct handles *hs, struct handle *h, int fd, uint64_t ino, bool writing)
{
	pthread_mutex_lock(&hs->lock);
	h->fd = fd;
	h->ino = ino;
	h->writing = writing;
	pthread_mutex_unlock(&hs->lock);
}

const char *handle_text(struct handles *hs, struct handle *h, size_t *size)
{
	const char *text;

	pthread_mutex_lock(&hs->lock);
	text = h->text;
	*size = h->size;
	pthread_mutex_unlock(&hs->lock);
	return text;
}

const char *handle_keep_text(struct handles *hs, struct handle *h, char *text, size_t *size)
{
	const char *kept;
	char *surplus = text;

	pthread_mutex_lock(&hs->lock);
	if (!h->text) {
		h->text = text;
		h->size = *size;
		surplus = NULL;
	}
	kept = h->text;
	*size = h->size;
	pthread_mutex_unlock(&hs->lock);
	free(surplus);
	return kept;
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

int handles_stat(struct handles *hs, uint64_t ino, struct stat *st)
{
	int rc = -ENOENT;

	pthread_mutex_lock(&hs->lock);
	for (const struct handle *h = hs->first; h && rc; h = h->next)
		if (h->ino == ino && h->fd >= 0)
			rc = fstat(h->fd, st) < 0 ? -errno : 0;
	pthread_mutex_unlock(&hs->lock);
	return rc;
}

bool handles_writing(struct handles *hs, bool (*fn)(const struct handle *h, void *arg), void *arg)
{
	bool found = false;

	pthread_mutex_lock(&hs->lock);
	for (const struct handle *h = hs->first; h && !found; h = h->next)
		found = h->writing && fn(h, arg);
	pthread_mutex_unlock(&hs->lock);
	return found;
}

static bool is_writing(const struct handle *h)
{
	int flags = h->fd < 0 || h->sink ? -1 : fcntl(h->fd, F_GETFL);

	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

unsigned int handles_adopt(struct handles *hs, uint64_t ino)
{
	unsigned int writers = 0;

	pthread_mutex_lock(&hs->lock);
	for (struct handle *h = hs->first; h; h = h->next) {
		if (h->ino != ino || !is_writing(h))
			continue;
		h->counted = true;
		atomic_store(&h->wrote, false);
		writers++;
	}
	pthread_mutex_unlock(&hs->lock);
	return writers;
}
