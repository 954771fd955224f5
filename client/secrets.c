#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/cleanup.h"
#include "client/clock.h"
#include "client/datastore.h"
#include "client/url.h"

enum {
	SECRETS_MAX = 256,
	SECRET_S = 30 * 60, /* kept so long; SAS tokens of the service live for hours */
	SECRET_SIZE_MAX = 8192,
	EARLY_S = 60,   /* before a signature runs out another one is asked for, */
	EARLY_PART = 4, /* or so large a part of its life before, when that is short */
};

struct secret {
	char *key;
	struct blob_access access;
	int64_t at;
	int64_t until; /* it is not used from then on */
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

		if (strcmp(item->key, key) != 0 || clock_mono() >= item->until)
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

/* The time, in ns, that a signature says it is valid for (its "se"); -1 when it does not say. */
static int64_t signed_life(const char *sas)
{
	_cleanup_buf_ struct buf text = BUF_INIT(CLOCK_ISO_SIZE);
	int64_t expiry;

	while (strncmp(sas, "se=", 3) != 0) {
		sas = strchr(sas, '&');
		if (!sas)
			return -1;
		sas++;
	}
	sas += 3;
	if (url_decode(&text, sas, strcspn(sas, "&")) || clock_parse_iso(buf_str(&text), &expiry))
		return -1;
	return expiry - clock_wall();
}

/*
 * How long a secret is used, in ns: one that runs out is asked for anew a little before. What has
 * run out as it comes is taken for a clock that is wrong, here or there: then the service is left
 * to refuse it.
 */
static int64_t life_of(const struct blob_access *access)
{
	int64_t life = SECRET_S * NS_PER_S;
	int64_t said = access->kind == BLOB_SAS ? signed_life(access->secret) : -1;
	int64_t margin =
		said / EARLY_PART < EARLY_S * NS_PER_S ? said / EARLY_PART : EARLY_S * NS_PER_S;

	return said > 0 && said - margin < life ? said - margin : life;
}

void secrets_put(struct secrets *s, const char *key, const struct blob_access *access)
{
	int64_t now = clock_mono();
	struct secret fresh = {.key = strdup(key),
			       .access = *access,
			       .at = now,
			       .until = now + life_of(access)},
		      old;
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
