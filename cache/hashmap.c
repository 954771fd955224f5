#include "cache/hashmap.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/clock.h"

enum { FIRST_BUCKETS = 16 };

struct node {
	struct node *next;
	uint64_t hash;
	void *value;
	size_t len;
	char key[];
};

struct hashmap {
	struct node **buckets;
	size_t n_buckets; /* a power of two */
	size_t count;
	uint64_t seed[2];
};

static uint64_t rotl(uint64_t x, int b)
{
	return (x << b) | (x >> (64 - b));
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein), as hash tables elsewhere use it. */
static uint64_t sip_hash(const uint64_t seed[2], const void *key, size_t len)
{
	uint64_t v[4] = {
		seed[0] ^ UINT64_C(0x736f6d6570736575),
		seed[1] ^ UINT64_C(0x646f72616e646f6d),
		seed[0] ^ UINT64_C(0x6c7967656e657261),
		seed[1] ^ UINT64_C(0x7465646279746573),
	};
	const unsigned char *p = key;
	size_t left = len;
	uint64_t word;

	for (; left >= sizeof(word); left -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = (uint64_t)len << 56;
	for (size_t i = 0; i < left; i++)
		word |= (uint64_t)p[i] << (8 * i);
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void seed_fill(uint64_t seed[2])
{
	/* Early in boot there may be no randomness yet; a guessable seed only costs speed. */
	if (getrandom(seed, 2 * sizeof(*seed), GRND_NONBLOCK) == 2 * sizeof(*seed))
		return;
	seed[0] = (uint64_t)clock_mono();
	seed[1] = (uint64_t)(uintptr_t)seed;
}

struct hashmap *hashmap_new(void)
{
	struct hashmap *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->n_buckets = FIRST_BUCKETS;
	m->buckets = calloc(m->n_buckets, sizeof(*m->buckets));
	if (!m->buckets) {
		free(m);
		return NULL;
	}
	seed_fill(m->seed);
	return m;
}

void hashmap_free(struct hashmap *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_buckets; i++)
		for (struct node *n = m->buckets[i], *next; n; n = next) {
			next = n->next;
			free(n);
		}
	free(m->buckets);
	free(m);
}

size_t hashmap_count(const struct hashmap *m)
{
	return m->count;
}

/* Where the pointer to the node of key is, or the end of its chain. */
static struct node **hashmap_slot(const struct hashmap *m, const void *key, size_t len,
				  uint64_t hash)
{
	struct node **at = &m->buckets[hash & (m->n_buckets - 1)];

	while (*at &&
	       ((*at)->hash != hash || (*at)->len != len || memcmp((*at)->key, key, len) != 0))
		at = &(*at)->next;
	return at;
}

void *hashmap_get(const struct hashmap *m, const void *key, size_t len)
{
	struct node *n = *hashmap_slot(m, key, len, sip_hash(m->seed, key, len));

	return n ? n->value : NULL;
}

/* A table that can't grow still works, only slower: no error. */
static void hashmap_grow(struct hashmap *m)
{
	size_t n_buckets = m->n_buckets * 2;
	struct node **buckets = calloc(n_buckets, sizeof(*buckets));

	if (!buckets)
		return;
	for (size_t i = 0; i < m->n_buckets; i++)
		for (struct node *n = m->buckets[i], *next; n; n = next) {
			struct node **at = &buckets[n->hash & (n_buckets - 1)];

			next = n->next;
			n->next = *at;
			*at = n;
		}
	free(m->buckets);
	m->buckets = buckets;
	m->n_buckets = n_buckets;
}

int hashmap_put(struct hashmap *m, const void *key, size_t len, void *value)
{
	struct node *n = malloc(sizeof(*n) + len + 1);
	struct node **at;

	if (!n)
		return -ENOMEM;
	if (m->count >= m->n_buckets)
		hashmap_grow(m);
	n->hash = sip_hash(m->seed, key, len);
	n->value = value;
	n->len = len;
	memcpy(n->key, key, len);
	n->key[len] = '\0';
	at = &m->buckets[n->hash & (m->n_buckets - 1)];
	n->next = *at;
	*at = n;
	m->count++;
	return 0;
}

static void *hashmap_unlink(struct hashmap *m, struct node **at)
{
	struct node *n = *at;
	void *value = n->value;

	*at = n->next;
	free(n);
	m->count--;
	return value;
}

void *hashmap_remove(struct hashmap *m, const void *key, size_t len)
{
	struct node **at = hashmap_slot(m, key, len, sip_hash(m->seed, key, len));

	return *at ? hashmap_unlink(m, at) : NULL;
}

void hashmap_filter(struct hashmap *m, hashmap_keep_fn *keep, void *arg)
{
	for (size_t i = 0; i < m->n_buckets; i++)
		for (struct node **at = &m->buckets[i]; *at;) {
			struct node *n = *at;

			if (keep(arg, n->key, n->len, n->value))
				at = &n->next;
			else
				hashmap_unlink(m, at);
		}
}
