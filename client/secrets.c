#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "client/datastore.h"

enum {
	SECRETS_MAX = 256,
	SECRET_S = 30 * 60, /* kept so long; SAS tokens of the service live for hours */
	SECRET_SIZE_MAX = 8192,
};

struct secret {
	char *key;
	struct blob_access access;
	int64_t at;
};

struct secrets {
	pthread_mutex_t lock;
	/* protected by lock */
	struct secret items[SECRETS_MAX];
	size_t n;
};

int secrets_new(struct secrets **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	pthread_mutex_init(&(*out)->lock, NULL);
	return 0;
}

static void secret_clear(struct secret *s)
{
	free(s->key);
	blob_access_clear(&s->access);
	*s = (struct secret){0};
}

void secrets_free(struct secrets *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		secret_clear(&s->items[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int blob_access_set(struct blob_access *out, enum blob_access_kind kind, const char *secret,
		    struct err *e)
{
	if (*secret == '?')
		secret++;
	*out = (struct blob_access){.kind = kind};
	if (!*secret || strnlen(secret, SECRET_SIZE_MAX) == SECRET_SIZE_MAX)
		return err_set(e, -EBADMSG, "the service gave an empty or overlong secret");
	for (const char *p = secret; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '#')
			return err_set(e, -EBADMSG, "the service gave a malformed secret");
	out->secret = strdup(secret);
	return out->secret ? 0 : err_set(e, -ENOMEM, "no memory for a secret");
}

bool secrets_get(struct secrets *s, const char *key, struct blob_access *out)
{
	bool found = false;

	*out = (struct blob_access){0};
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n && !found; i++) {
		const struct secret *item = &s->items[i];

		if (strcmp(item->key, key) != 0 || clock_mono() - item->at > SECRET_S * NS_PER_S)
			continue;
		*out = item->access;
		out->secret = item->access.secret ? strdup(item->access.secret) : NULL;
		found = !item->access.secret == !out->secret;
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* The place of key, or a free one, or the oldest. Call with the lock. */
static struct secret *place_for(struct secrets *s, const char *key)
{
	struct secret *oldest = &s->items[0];

	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->items[i].key, key) == 0)
			return &s->items[i];
		if (s->items[i].at < oldest->at)
			oldest = &s->items[i];
	}
	return s->n < SECRETS_MAX ? &s->items[s->n++] : oldest;
}

void secrets_put(struct secrets *s, const char *key, const struct blob_access *access)
{
	struct secret fresh = {.key = strdup(key), .access = *access, .at = clock_mono()}, old;
	struct secret *place;

	fresh.access.secret = access->secret ? strdup(access->secret) : NULL;
	if (!fresh.key || (access->secret && !fresh.access.secret)) {
		/* It only saves a request: without it the next one asks again. */
		secret_clear(&fresh);
		return;
	}
	pthread_mutex_lock(&s->lock);
	place = place_for(s, key);
	old = *place;
	*place = fresh;
	pthread_mutex_unlock(&s->lock);
	secret_clear(&old);
}
