/*
 * All numbers are little-endian and have 8 bytes, but for lengths, which have 4. A text is the
 * length of its bytes with their NUL, and these; 0 is no text. A record is its numbers, its texts,
 * and its arrays of pairs, in the order of the tables; a context its texts and its files.
 */
#include "cache/record.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/asset_layout.h"

enum { FORMAT = 1 };

enum number_type { BOOLEAN, INT, INT64 };

struct number {
	size_t at;
	enum number_type type;
};

#define N(type, field, kind)                       \
	{                                          \
		offsetof(struct type, field), kind \
	}
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct number scope_numbers[] = {
	N(scope, kind, INT),
	N(scope, writable, BOOLEAN),
	N(scope, created, INT64),
	N(scope, modified, INT64),
};
static const struct number env_numbers[] = {
	N(env, archived, BOOLEAN),
	N(env, created, INT64),
	N(env, modified, INT64),
};
static const struct number version_numbers[] = {
	N(version, liveness.port, INT), N(version, readiness.port, INT),
	N(version, scoring.port, INT),  N(version, startup.port, INT),
	N(version, anonymous, BOOLEAN), N(version, archived, BOOLEAN),
	N(version, created, INT64),     N(version, modified, INT64),
};

/* What a kind of record consists of; contexts are described by their own functions. */
static const struct kind {
	const struct asset_layout *layout;
	const struct number *numbers;
	size_t n_numbers;
} kinds[] = {
	[RECORD_SCOPE] = {&asset_scope_layout, scope_numbers, COUNT(scope_numbers)},
	[RECORD_ENV] = {&asset_env_layout, env_numbers, COUNT(env_numbers)},
	[RECORD_VERSION] = {&asset_version_layout, version_numbers, COUNT(version_numbers)},
};

/* Room for the fields of any of them. */
union fields {
	struct scope scope;
	struct env env;
	struct version version;
	char bytes[sizeof(struct version)];
};

int record_format(void)
{
	size_t n = FORMAT;

	for (size_t i = 0; i < COUNT(kinds); i++)
		n = n * 31 + kinds[i].layout->n_strings * 7 + kinds[i].layout->n_arrays +
		    kinds[i].n_numbers;
	return (int)(n % 1000000);
}

/* ---- writing ---- */

static int put_length(struct buf *out, size_t n)
{
	const uint32_t le = htole32((uint32_t)n);

	return buf_add(out, &le, sizeof(le));
}

static int put_number(struct buf *out, int64_t n)
{
	const uint64_t le = htole64((uint64_t)n);

	return buf_add(out, &le, sizeof(le));
}

static int put_text(struct buf *out, const char *s)
{
	size_t n = s ? strlen(s) + 1 : 0;

	(void)put_length(out, n);
	return n ? buf_add(out, s, n) : buf_error(out);
}

static int64_t get_number(const void *record, const struct number *n)
{
	const char *at = (const char *)record + n->at;
	int64_t wide;
	int narrow;

	switch (n->type) {
	case BOOLEAN:
		return *(const bool *)at;
	case INT:
		memcpy(&narrow, at, sizeof(narrow));
		return narrow;
	default:
		memcpy(&wide, at, sizeof(wide));
		return wide;
	}
}

static int encode_fields(const struct kind *k, const void *record, struct buf *out)
{
	const struct asset_layout *l = k->layout;
	const char *base = record;

	for (size_t i = 0; i < k->n_numbers; i++)
		(void)put_number(out, get_number(record, &k->numbers[i]));
	for (size_t i = 0; i < l->n_strings; i++)
		(void)put_text(out, *(const char *const *)(base + l->strings[i]));
	for (size_t i = 0; i < l->n_arrays; i += 2) {
		const struct kv *kv = *(const struct kv *const *)(base + l->arrays[i]);
		size_t n;

		memcpy(&n, base + l->arrays[i + 1], sizeof(n));
		(void)put_length(out, n);
		for (size_t j = 0; j < n; j++) {
			(void)put_text(out, kv[j].key);
			(void)put_text(out, kv[j].value);
		}
	}
	return buf_error(out);
}

static int encode_context(const struct context *c, struct buf *out)
{
	(void)put_text(out, c->uri);
	(void)put_text(out, c->note);
	(void)put_length(out, c->n_files);
	for (size_t i = 0; i < c->n_files; i++) {
		const struct context_file *f = &c->files[i];

		(void)put_length(out, f->path_len);
		(void)buf_add(out, f->path, f->path_len);
		(void)put_number(out, (int64_t)f->size);
		(void)put_number(out, f->modified);
		(void)put_text(out, f->etag);
		(void)put_text(out, f->md5);
	}
	return buf_error(out);
}

int record_encode(enum record_kind kind, const void *record, struct buf *out)
{
	return kind == RECORD_CONTEXT ? encode_context(record, out)
				      : encode_fields(&kinds[kind], record, out);
}

/* ---- reading ---- */

/* What is left to be read; bad sticks. */
struct reader {
	const char *at;
	size_t left;
	bool bad;
};

static const char *take(struct reader *r, size_t n)
{
	const char *at = r->at;

	if (r->bad || n > r->left) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	r->left -= n;
	return at;
}

static size_t take_length(struct reader *r, size_t max)
{
	const char *at = take(r, sizeof(uint32_t));
	uint32_t le = 0;

	if (at)
		memcpy(&le, at, sizeof(le));
	le = le32toh(le);
	if (le > max) {
		r->bad = true;
		return 0;
	}
	return le;
}

static int64_t take_number(struct reader *r)
{
	const char *at = take(r, sizeof(uint64_t));
	uint64_t le = 0;

	if (at)
		memcpy(&le, at, sizeof(le));
	return (int64_t)le64toh(le);
}

/* Points into what is read. */
static const char *take_text(struct reader *r)
{
	size_t n = take_length(r, ASSET_TEXT_MAX + 1);
	const char *s = n ? take(r, n) : NULL;

	/* The first NUL is the last byte. */
	if (s && memchr(s, '\0', n) != s + n - 1) {
		r->bad = true;
		return NULL;
	}
	return s;
}

static void set_number(void *record, const struct number *n, int64_t value, bool *bad)
{
	char *at = (char *)record + n->at;
	int narrow = (int)value;

	switch (n->type) {
	case BOOLEAN:
		*bad |= value != 0 && value != 1;
		*(bool *)at = value == 1;
		break;
	case INT:
		*bad |= value != narrow;
		memcpy(at, &narrow, sizeof(narrow));
		break;
	default:
		memcpy(at, &value, sizeof(value));
	}
}

/* The pairs of one array, to be freed; NULL when there are none, or when r is bad. */
static struct kv *take_pairs(struct reader *r, size_t *n)
{
	struct kv *kv;

	*n = take_length(r, ASSET_KV_MAX);
	if (!*n)
		return NULL;
	kv = calloc(*n, sizeof(*kv));
	r->bad |= !kv;
	for (size_t i = 0; kv && i < *n; i++) {
		kv[i].key = take_text(r);
		kv[i].value = take_text(r);
		r->bad |= !kv[i].key;
	}
	return kv;
}

enum { ARRAYS_MAX = 2 };

static void read_fields(const struct kind *k, struct reader *r, union fields *fields,
			struct kv *arrays[ARRAYS_MAX])
{
	const struct asset_layout *l = k->layout;
	char *base = fields->bytes;

	for (size_t i = 0; i < k->n_numbers; i++)
		set_number(base, &k->numbers[i], take_number(r), &r->bad);
	for (size_t i = 0; i < l->n_strings; i++) {
		const char *s = take_text(r);

		memcpy(base + l->strings[i], &s, sizeof(s));
	}
	for (size_t i = 0; i < l->n_arrays; i += 2) {
		size_t n;

		arrays[i / 2] = take_pairs(r, &n);
		memcpy(base + l->arrays[i], &arrays[i / 2], sizeof(arrays[i / 2]));
		memcpy(base + l->arrays[i + 1], &n, sizeof(n));
	}
	r->bad |= r->left != 0;
}

static bool is_name(const char *s)
{
	return s && strlen(s) <= ASSET_NAME_MAX;
}

static void *make_record(enum record_kind kind, const union fields *f, bool *bad)
{
	switch (kind) {
	case RECORD_SCOPE:
		*bad = !is_name(f->scope.name) || f->scope.kind < SCOPE_WORKSPACE ||
		       f->scope.kind > SCOPE_REGISTRY;
		return *bad ? NULL : scope_new(&f->scope);
	case RECORD_ENV:
		*bad = !is_name(f->env.name);
		return *bad ? NULL : env_new(&f->env);
	default:
		*bad = !is_name(f->version.env) || !is_name(f->version.version);
		return *bad ? NULL : version_new(&f->version);
	}
}

static int decode_fields(enum record_kind kind, struct reader *r, void **out)
{
	struct kv *arrays[ARRAYS_MAX] = {NULL, NULL};
	union fields fields;
	bool bad;

	memset(&fields, 0, sizeof(fields));
	read_fields(&kinds[kind], r, &fields, arrays);
	bad = r->bad;
	if (!bad)
		*out = make_record(kind, &fields, &bad);
	for (size_t i = 0; i < ARRAYS_MAX; i++)
		free(arrays[i]);
	if (bad)
		return -EBADMSG;
	return *out ? 0 : -ENOMEM;
}

static void take_file(struct reader *r, struct context_file *f)
{
	f->path_len = take_length(r, ASSET_PATH_MAX);
	f->path = take(r, f->path_len);
	f->size = (uint64_t)take_number(r);
	f->modified = take_number(r);
	f->etag = take_text(r);
	f->md5 = take_text(r);
	r->bad |= !f->path_len || f->size > INT64_MAX;
}

static int decode_context(struct reader *r, void **out)
{
	_cleanup_free_ struct context_file *files = NULL;
	struct context fields = {0};

	fields.uri = take_text(r);
	fields.note = take_text(r);
	fields.n_files = take_length(r, ASSET_CONTEXT_MAX);
	if (r->bad)
		return -EBADMSG;
	files = calloc(fields.n_files + 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < fields.n_files && !r->bad; i++)
		take_file(r, &files[i]);
	if (r->bad || r->left)
		return -EBADMSG;
	fields.files = files;
	*out = context_new(&fields);
	return *out ? 0 : -ENOMEM;
}

int record_decode(enum record_kind kind, const void *data, size_t len, void **out)
{
	struct reader r = {data, len, false};

	*out = NULL;
	return kind == RECORD_CONTEXT ? decode_context(&r, out) : decode_fields(kind, &r, out);
}

void record_unref(enum record_kind kind, void *record)
{
	switch (kind) {
	case RECORD_SCOPE:
		scope_unref(record);
		break;
	case RECORD_ENV:
		env_unref(record);
		break;
	case RECORD_VERSION:
		version_unref(record);
		break;
	default:
		context_unref(record);
	}
}
