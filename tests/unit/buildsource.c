#include "tests/unit/buildsource.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/buf.h"
#include "client/clock.h"

enum { STATUS_SIZE = 64, LOG_LIMIT = 64 << 20 };

struct buildsource {
	struct source source;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* protected by lock */
	char status[STATUS_SIZE];
	struct buf log;
	bool has_log;
	unsigned int logs;
	unsigned int signatures;
	unsigned int operations;
	bool exists;
	bool found;
	bool held;
	bool stopped;
	int fail[BUILD_OPS];
	unsigned int calls[BUILD_OPS];
};

static struct buildsource *of(struct source *s)
{
	return (struct buildsource *)s;
}

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "buildsource: no memory\n");
		exit(1);
	}
	return p;
}

/* Counts a call; with the lock when it returns. */
static int enter(struct buildsource *b, enum build_op op, struct err *e)
{
	pthread_mutex_lock(&b->lock);
	b->calls[op]++;
	pthread_cond_broadcast(&b->cond);
	while (op == OP_READ && b->held && !b->stopped)
		pthread_cond_wait(&b->cond, &b->lock);
	if (b->stopped)
		return err_set(e, -ECANCELED, "stopped");
	return b->fail[op] ? err_set(e, b->fail[op], "told to fail") : 0;
}

static int leave(struct buildsource *b, int rc)
{
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static char *log_name(struct buildsource *b, bool is_signed)
{
	char name[64];

	if (is_signed)
		snprintf(name, sizeof(name), "https://x/log%u?sig=%u", b->logs, b->signatures);
	else
		snprintf(name, sizeof(name), "https://x/log%u", b->logs);
	return must(strdup(name));
}

static int start_build(struct source *s, struct scope *scope, const char *env, const char *version,
		       struct call *c, char **location, struct err *e)
{
	struct buildsource *b = of(s);
	int rc = enter(b, OP_START, e);
	char name[64];

	(void)scope, (void)env, (void)version, (void)c;
	if (!rc) {
		snprintf(name, sizeof(name), "/operations/%u", ++b->operations);
		*location = must(strdup(name));
	}
	return leave(b, rc);
}

static int get_build(struct source *s, struct scope *scope, const char *location, struct call *c,
		     struct image_build *out, struct err *e)
{
	struct buildsource *b = of(s);
	int rc = enter(b, OP_GET, e);

	(void)scope, (void)location, (void)c;
	*out = (struct image_build){0};
	if (!rc) {
		out->stage = must(strdup(b->status));
		out->state = image_state_parse(b->status);
		out->final = image_state_is_final(out->state) || out->state == IMAGE_UNKNOWN;
		out->log = b->has_log ? log_name(b, true) : NULL;
	}
	return leave(b, rc);
}

static int cancel_build(struct source *s, struct scope *scope, const char *location, struct call *c,
			struct err *e)
{
	struct buildsource *b = of(s);
	int rc = enter(b, OP_CANCEL, e);

	(void)scope, (void)location, (void)c;
	if (!rc)
		snprintf(b->status, sizeof(b->status), "Canceled");
	return leave(b, rc);
}

static int read_log(struct source *s, struct scope *scope, const char *log, uint64_t offset,
		    size_t len, struct call *c, struct buf *out, uint64_t *size, struct err *e)
{
	struct buildsource *b = of(s);
	int rc = enter(b, OP_READ, e);
	char *expected = log_name(b, strchr(log, '?') != NULL);
	size_t left;

	(void)scope, (void)c;
	if (!rc && strcmp(log, expected) != 0)
		rc = err_set(e, -EACCES, "the signature is too old");
	if (!rc && !b->has_log)
		rc = err_set(e, -ENOENT, "no log yet");
	free(expected);
	if (!rc) {
		*size = b->log.len;
		left = offset < b->log.len ? b->log.len - (size_t)offset : 0;
		rc = left ? buf_add(out, b->log.data + offset, left < len ? left : len) : 0;
	}
	return leave(b, rc);
}

static int get_image(struct source *s, struct scope *scope, const struct version *v, struct call *c,
		     struct image *out, struct err *e)
{
	struct buildsource *b = of(s);
	int rc = enter(b, OP_IMAGE, e);

	(void)scope, (void)v, (void)c;
	*out = (struct image){0};
	if (!rc) {
		out->exists = b->exists;
		out->name = must(strdup("registry.example/azureml/azureml_1"));
	}
	return leave(b, rc);
}

static int find_log(struct source *s, struct scope *scope, const struct version *v, struct call *c,
		    char **log, struct err *e)
{
	struct buildsource *b = of(s);
	int rc = enter(b, OP_FIND, e);

	(void)scope, (void)v, (void)c;
	*log = NULL;
	if (!rc && !b->found)
		rc = err_set(e, -ENOENT, "none");
	if (!rc)
		*log = log_name(b, false);
	return leave(b, rc);
}

static int expect_logs(struct source *s, struct scope *scope, struct call *c, struct err *e)
{
	struct buildsource *b = of(s);

	(void)scope, (void)c;
	return leave(b, enter(b, OP_EXPECT, e));
}

static int64_t no_log(struct source *s, struct scope *scope, const struct version *v)
{
	(void)s, (void)scope, (void)v;
	return 0;
}

static void stop(struct source *s)
{
	struct buildsource *b = of(s);

	pthread_mutex_lock(&b->lock);
	b->stopped = true;
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

static const struct source_ops ops = {
	.start_build = start_build,
	.get_build = get_build,
	.cancel_build = cancel_build,
	.read_log = read_log,
	.get_image = get_image,
	.find_log = find_log,
	.expect_logs = expect_logs,
	.no_log = no_log,
	.stop = stop,
};

struct buildsource *buildsource_new(void)
{
	struct buildsource *b = must(calloc(1, sizeof(*b)));

	b->source.ops = &ops;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->cond, NULL);
	b->log = (struct buf)BUF_INIT(LOG_LIMIT);
	snprintf(b->status, sizeof(b->status), "Queued");
	return b;
}

void buildsource_free(struct buildsource *b)
{
	buf_free(&b->log);
	pthread_cond_destroy(&b->cond);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

struct source *buildsource_source(struct buildsource *b)
{
	return &b->source;
}

void buildsource_state(struct buildsource *b, const char *status)
{
	pthread_mutex_lock(&b->lock);
	snprintf(b->status, sizeof(b->status), "%s", status);
	pthread_mutex_unlock(&b->lock);
}

void buildsource_write(struct buildsource *b, const char *data, size_t len)
{
	pthread_mutex_lock(&b->lock);
	b->has_log = true;
	if (buf_add(&b->log, data, len))
		must(NULL);
	pthread_mutex_unlock(&b->lock);
}

void buildsource_next_log(struct buildsource *b)
{
	pthread_mutex_lock(&b->lock);
	buf_reset(&b->log);
	b->has_log = false;
	b->logs++;
	pthread_mutex_unlock(&b->lock);
}

void buildsource_renew(struct buildsource *b)
{
	pthread_mutex_lock(&b->lock);
	b->signatures++;
	pthread_mutex_unlock(&b->lock);
}

void buildsource_image(struct buildsource *b, bool exists)
{
	pthread_mutex_lock(&b->lock);
	b->exists = exists;
	pthread_mutex_unlock(&b->lock);
}

void buildsource_found(struct buildsource *b, bool found)
{
	pthread_mutex_lock(&b->lock);
	b->found = found;
	pthread_mutex_unlock(&b->lock);
}

void buildsource_fail(struct buildsource *b, enum build_op op, int rc)
{
	pthread_mutex_lock(&b->lock);
	b->fail[op] = rc;
	pthread_mutex_unlock(&b->lock);
}

void buildsource_hold(struct buildsource *b, bool hold)
{
	pthread_mutex_lock(&b->lock);
	b->held = hold;
	pthread_cond_broadcast(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

unsigned int buildsource_calls(struct buildsource *b, enum build_op op)
{
	unsigned int n;

	pthread_mutex_lock(&b->lock);
	n = b->calls[op];
	pthread_mutex_unlock(&b->lock);
	return n;
}

unsigned int buildsource_all_calls(struct buildsource *b)
{
	unsigned int n = 0;

	for (int op = 0; op < BUILD_OPS; op++)
		n += buildsource_calls(b, (enum build_op)op);
	return n;
}
