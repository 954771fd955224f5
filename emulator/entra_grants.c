/* Refresh tokens and device codes: random texts, of which only digests are kept. */
#include "emulator/entra_int.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include <openssl/crypto.h>

#include "client/clock.h"

static void copy(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

static bool is_free(const unsigned char digest[DIGEST_SIZE])
{
	static const unsigned char zero[DIGEST_SIZE];

	return memcmp(digest, zero, DIGEST_SIZE) == 0;
}

/* ---- refresh tokens ---- */

/* A free place, or the oldest. Call with the lock. */
static struct entra_grant *grant_place(struct entra *n)
{
	struct entra_grant *oldest = &n->grants[0];

	for (size_t i = 0; i < ENTRA_REFRESH_MAX; i++) {
		if (is_free(n->grants[i].digest))
			return &n->grants[i];
		if (n->grants[i].number < oldest->number)
			oldest = &n->grants[i];
	}
	return oldest;
}

int entra_refresh_new(struct entra *n, const struct entra_subject *who, char out[ENTRA_SECRET_SIZE])
{
	struct entra_grant made = {0}, *place;
	int ret = entra_secret_new(out, made.digest);

	if (ret)
		return ret;
	copy(made.app, sizeof(made.app), who->app);
	copy(made.tenant, sizeof(made.tenant), who->tenant);
	copy(made.user, sizeof(made.user), who->user);
	pthread_mutex_lock(&n->lock);
	made.expires = entra_now(n) + ENTRA_REFRESH_S;
	made.number = ++n->numbers;
	place = grant_place(n);
	*place = made;
	pthread_mutex_unlock(&n->lock);
	return 0;
}

static struct entra_grant *grant_find(struct entra *n, const unsigned char digest[DIGEST_SIZE])
{
	for (size_t i = 0; i < ENTRA_REFRESH_MAX; i++)
		if (CRYPTO_memcmp(n->grants[i].digest, digest, DIGEST_SIZE) == 0)
			return &n->grants[i];
	return NULL;
}

enum entra_error entra_refresh_use(struct entra *n, const char *token, const char *app,
				   const char *tenant, struct entra_grant *out)
{
	unsigned char digest[DIGEST_SIZE];
	enum entra_error error = ENTRA_OK;
	struct entra_grant *found;

	if (entra_digest(token, digest))
		return ENTRA_INTERNAL;
	pthread_mutex_lock(&n->lock);
	found = grant_find(n, digest);
	if (!found || strcasecmp(found->app, app) != 0 ||
	    (tenant && strcasecmp(found->tenant, tenant) != 0))
		error = ENTRA_BAD_REFRESH;
	else if (found->revoked)
		error = ENTRA_REVOKED_REFRESH;
	else if (found->expires <= entra_now(n))
		error = ENTRA_OLD_REFRESH;
	if (!error) {
		*out = *found;
		found->expires = entra_now(n) + ENTRA_REFRESH_S;
		found->revoked = n->settings.rotate_refresh;
	}
	pthread_mutex_unlock(&n->lock);
	return error;
}

/* ---- device codes ---- */

/* What can be read out over a telephone: no vowels, nothing that looks like something else. */
static int make_user_code(char out[USER_CODE_SIZE])
{
	static const char letters[] = "BCDFGHJKLMNPQRSTVWXZ23456789ACDE"; /* 32 of them */
	unsigned char random[USER_CODE_SIZE - 1];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		out[i] = letters[random[i] % 32];
	out[sizeof(random)] = '\0';
	return 0;
}

static struct entra_device *device_place(struct entra *n)
{
	struct entra_device *oldest = &n->devices[0];

	for (size_t i = 0; i < ENTRA_DEVICES_MAX; i++) {
		if (is_free(n->devices[i].digest))
			return &n->devices[i];
		if (n->devices[i].number < oldest->number)
			oldest = &n->devices[i];
	}
	return oldest;
}

int entra_device_new(struct entra *n, const char *app, const char *tenant,
		     const struct entra_scope *scope, char code[ENTRA_SECRET_SIZE],
		     char user_code[USER_CODE_SIZE])
{
	struct entra_device made = {0}, *place;
	int ret = entra_secret_new(code, made.digest);

	if (!ret)
		ret = make_user_code(made.user_code);
	if (ret)
		return ret;
	copy(made.app, sizeof(made.app), app);
	copy(made.tenant, sizeof(made.tenant), tenant);
	made.scope = *scope;
	pthread_mutex_lock(&n->lock);
	made.expires = entra_now(n) + n->settings.device_s;
	made.number = ++n->numbers;
	place = device_place(n);
	*place = made;
	pthread_mutex_unlock(&n->lock);
	memcpy(user_code, made.user_code, USER_CODE_SIZE);
	return 0;
}

/* Whether the last poll was a moment ago. Half of the interval is no haste: clocks differ. */
static bool polls_too_fast(struct entra *n, struct entra_device *d)
{
	int64_t now = clock_mono(), before = d->polled;

	d->polled = now;
	return before && now - before < n->settings.device_interval_s * NS_PER_S / 2;
}

static enum entra_error device_answer(struct entra *n, struct entra_device *d)
{
	bool fast = polls_too_fast(n, d);

	if (d->state == DEVICE_USED)
		return ENTRA_BAD_CODE;
	if (d->expires <= entra_now(n))
		return ENTRA_OLD_CODE;
	if (d->state == DEVICE_DECLINED)
		return ENTRA_DECLINED;
	if (fast)
		return ENTRA_SLOW_DOWN;
	return d->state == DEVICE_WAITING ? ENTRA_PENDING : ENTRA_OK;
}

enum entra_error entra_device_poll(struct entra *n, const char *code, const char *app,
				   struct entra_device *out)
{
	unsigned char digest[DIGEST_SIZE];
	enum entra_error error = ENTRA_BAD_CODE;

	if (entra_digest(code, digest))
		return ENTRA_INTERNAL;
	pthread_mutex_lock(&n->lock);
	for (size_t i = 0; i < ENTRA_DEVICES_MAX; i++) {
		struct entra_device *d = &n->devices[i];

		if (CRYPTO_memcmp(d->digest, digest, DIGEST_SIZE) != 0 ||
		    strcasecmp(d->app, app) != 0)
			continue;
		error = device_answer(n, d);
		if (!error) {
			*out = *d;
			d->state = DEVICE_USED;
		}
	}
	pthread_mutex_unlock(&n->lock);
	return error;
}

bool entra_device_answer(struct entra *n, struct text user_code, const char *user, bool agree)
{
	bool found = false;

	pthread_mutex_lock(&n->lock);
	for (size_t i = 0; i < ENTRA_DEVICES_MAX && !found; i++) {
		struct entra_device *d = &n->devices[i];

		found = !is_free(d->digest) && text_is_case(user_code, d->user_code) &&
			d->state == DEVICE_WAITING && d->expires > entra_now(n);
		if (!found)
			continue;
		d->state = agree ? DEVICE_APPROVED : DEVICE_DECLINED;
		copy(d->user, sizeof(d->user), user);
	}
	pthread_mutex_unlock(&n->lock);
	return found;
}
