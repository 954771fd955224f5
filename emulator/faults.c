#include "emulator/faults.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "client/asset_json.h"
#include "client/buf.h"
#include "client/nearest.h"
#include "client/cleanup.h"
#include "emulator/readfile.h"

enum {
	PLAN_SIZE_MAX = 1024 * 1024,
	RULES_MAX = 1000,
	PATTERN_MAX = 512,
	DELAY_MAX_MS = 10 * 60 * 1000,
	RETRY_AFTER_MAX = 24 * 60 * 60,
	STATUS_MIN = 200, /* 1xx are not answers */
	STATUS_MAX = 599,
	COUNT_MAX = 1000000000,
};

/* The most bytes that truncate, wrong_length and huge may name: 1 TiB, exact in a double. */
static const double bytes_max = 1024.0 * 1024 * 1024 * 1024;

struct rule {
	char method[PATTERN_MAX]; /* fnmatch pattern; "": any */
	char path[PATTERN_MAX];
	unsigned int skip;  /* so many matching requests are left alone first */
	unsigned int times; /* then so many get the fault; 0: all that follow */
	unsigned int seen;  /* matching requests so far; stops counting when the rule is used up */
	struct fault fault;
};

struct plan {
	size_t n;
	struct rule rules[];
};

struct faults {
	pthread_mutex_t lock;
	struct plan *plan; /* protected by lock, the counts of its rules too; NULL: no rules */
};

/* How a member of a rule is read. */
enum member_kind { MEMBER_TEXT, MEMBER_INT, MEMBER_UINT, MEMBER_INT64, MEMBER_UINT64, MEMBER_BOOL };

struct member {
	const char *name;
	enum member_kind kind;
	size_t offset; /* in struct rule */
	size_t size;   /* of a text, with its NUL */
	double min, max;
	bool effect; /* does something to a request, rather than choose it */
};

#define RULE(field)  offsetof(struct rule, field)
#define FAULT(field) offsetof(struct rule, fault.field)
#define SIZE(field)  sizeof(((struct rule *)NULL)->field)

/* One table for parsing, for the list of known names and for docs/faults.md (same order). */
static const struct member members[] = {
	{"method", MEMBER_TEXT, RULE(method), SIZE(method), 0, 0, false},
	{"path", MEMBER_TEXT, RULE(path), SIZE(path), 0, 0, false},
	{"skip", MEMBER_UINT, RULE(skip), 0, 0, COUNT_MAX, false},
	{"times", MEMBER_UINT, RULE(times), 0, 1, COUNT_MAX, false},
	{"status", MEMBER_INT, FAULT(status), 0, STATUS_MIN, STATUS_MAX, true},
	{"code", MEMBER_TEXT, FAULT(code), SIZE(fault.code), 0, 0, false},
	{"retry_after", MEMBER_INT, FAULT(retry_after), 0, 0, RETRY_AFTER_MAX, true},
	{"body", MEMBER_TEXT, FAULT(body), SIZE(fault.body), 0, 0, false},
	{"delay_ms", MEMBER_UINT, FAULT(delay_ms), 0, 0, DELAY_MAX_MS, true},
	{"body_delay_ms", MEMBER_UINT, FAULT(body_delay_ms), 0, 0, DELAY_MAX_MS, true},
	{"truncate", MEMBER_INT64, FAULT(truncate), 0, 0, bytes_max, true},
	{"wrong_length", MEMBER_INT64, FAULT(wrong_length), 0, -bytes_max, bytes_max, true},
	{"reset", MEMBER_BOOL, FAULT(reset), 0, 0, 0, true},
	{"close", MEMBER_BOOL, FAULT(close), 0, 0, 0, true},
	{"half_close", MEMBER_BOOL, FAULT(half_close), 0, 0, 0, true},
	{"garbage", MEMBER_BOOL, FAULT(garbage), 0, 0, 0, true},
	{"garbage_body", MEMBER_BOOL, FAULT(garbage_body), 0, 0, 0, true},
	{"huge", MEMBER_UINT64, FAULT(huge), 0, 1, bytes_max, true},
	{"corrupt", MEMBER_BOOL, FAULT(corrupt), 0, 0, 0, true},
	{"lost", MEMBER_BOOL, FAULT(lost), 0, 0, 0, true},
	{"duplicate_page", MEMBER_BOOL, FAULT(duplicate_page), 0, 0, 0, true},
	{"skip_page", MEMBER_BOOL, FAULT(skip_page), 0, 0, 0, true},
};

enum { MEMBERS = sizeof(members) / sizeof(members[0]) };
_Static_assert(MEMBERS <= 32, "the members seen are bits of one word");

struct faults *faults_new(void)
{
	struct faults *f = calloc(1, sizeof(*f));

	if (f && pthread_mutex_init(&f->lock, NULL)) {
		free(f);
		return NULL;
	}
	return f;
}

void faults_free(struct faults *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f->plan);
	free(f);
}

static const struct member *member_find(const char *name)
{
	size_t i;

	for (i = 0; i < MEMBERS; i++)
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	return NULL;
}

/* The member whose name is closest, however far that is. */
static const char *member_nearest(const char *name)
{
	const char *nearest = members[0].name;
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < MEMBERS; i++)
		if (nearest_closer(name, members[i].name, &least))
			nearest = members[i].name;
	return nearest;
}

static int read_text(const struct member *m, const cJSON *item, char *to, struct err *e)
{
	const char *text = cJSON_GetStringValue(item);

	if (!text)
		return err_set(e, -EBADMSG, "\"%s\" must be text", m->name);
	if (strlen(text) >= m->size)
		return err_set(e, -EBADMSG, "\"%s\" is longer than %zu bytes", m->name,
			       m->size - 1);
	memcpy(to, text, strlen(text) + 1);
	return 0;
}

static int read_number(const struct member *m, const cJSON *item, void *to, struct err *e)
{
	double value = item->valuedouble;

	if (!cJSON_IsNumber(item) || !isfinite(value) || value != floor(value) || value < m->min ||
	    value > m->max)
		return err_set(e, -EBADMSG, "\"%s\" must be a whole number from %.0f to %.0f",
			       m->name, m->min, m->max);
	if (m->kind == MEMBER_INT)
		*(int *)to = (int)value;
	else if (m->kind == MEMBER_UINT)
		*(unsigned int *)to = (unsigned int)value;
	else if (m->kind == MEMBER_INT64)
		*(int64_t *)to = (int64_t)value;
	else
		*(uint64_t *)to = (uint64_t)value;
	return 0;
}

static int read_member(const struct member *m, const cJSON *item, struct rule *rule, struct err *e)
{
	void *to = (char *)rule + m->offset;

	if (m->kind == MEMBER_TEXT)
		return read_text(m, item, to, e);
	if (m->kind != MEMBER_BOOL)
		return read_number(m, item, to, e);
	if (!cJSON_IsBool(item))
		return err_set(e, -EBADMSG, "\"%s\" must be true or false", m->name);
	*(bool *)to = cJSON_IsTrue(item);
	return 0;
}

/* What takes the place of the answer; a rule can have only one of these. */
static int check_one_ending(const struct fault *f, struct err *e)
{
	int endings = (f->status != 0) + f->reset + f->close + f->half_close + f->garbage +
		      f->garbage_body + (f->huge != 0) + f->lost;

	if (endings > 1)
		return err_set(e, -EBADMSG,
			       "only one of \"status\", \"reset\", \"close\", \"half_close\", "
			       "\"garbage\", \"garbage_body\", \"huge\" and \"lost\" can be in a "
			       "rule");
	if (!f->status && (f->code[0] || f->body[0] || f->retry_after >= 0))
		return err_set(e, -EBADMSG,
			       "\"code\", \"body\" and \"retry_after\" need \"status\"");
	return 0;
}

static int read_rule(const cJSON *json, struct rule *rule, struct err *e)
{
	const cJSON *item;
	uint32_t seen = 0;
	bool effect = false;
	int rc;

	if (!cJSON_IsObject(json))
		return err_set(e, -EBADMSG, "must be an object");
	rule->fault.active = true;
	rule->fault.retry_after = -1;
	rule->fault.truncate = -1;
	cJSON_ArrayForEach(item, json) {
		const struct member *m = member_find(item->string);

		if (!m)
			return err_set(e, -EBADMSG,
				       "there is no member \"%.64s\" (the nearest is \"%s\")",
				       item->string, member_nearest(item->string));
		if (seen & UINT32_C(1) << (m - members))
			return err_set(e, -EBADMSG, "\"%s\" is there twice", m->name);
		seen |= UINT32_C(1) << (m - members);
		effect |= m->effect;
		rc = read_member(m, item, rule, e);
		if (rc)
			return rc;
	}
	if (!effect)
		return err_set(e, -EBADMSG, "says nothing that is to go wrong");
	return check_one_ending(&rule->fault, e);
}

static int plan_new(const cJSON *json, struct plan **out, struct err *e)
{
	_cleanup_free_ struct plan *plan = NULL;
	const cJSON *rules = NULL, *item;
	size_t n;

	cJSON_ArrayForEach(item, json) {
		if (strcmp(item->string ? item->string : "", "rules") != 0 || rules)
			return err_set(e, -EBADMSG,
				       "a fault plan is an object with one member, \"rules\"");
		rules = item;
	}
	if (!cJSON_IsObject(json) || !cJSON_IsArray(rules))
		return err_set(e, -EBADMSG, "a fault plan is an object with a list \"rules\"");
	n = (size_t)cJSON_GetArraySize(rules);
	if (n > RULES_MAX)
		return err_set(e, -EBADMSG, "a fault plan has at most %d rules", RULES_MAX);
	plan = calloc(1, sizeof(*plan) + n * sizeof(plan->rules[0]));
	if (!plan)
		return err_set(e, -ENOMEM, "out of memory");
	cJSON_ArrayForEach(item, rules) {
		int rc = read_rule(item, &plan->rules[plan->n], e);

		if (rc)
			return err_prefix(e, rc, "rule %zu: ", plan->n + 1);
		plan->n++;
	}
	*out = steal_ptr(&plan);
	return 0;
}

int faults_set(struct faults *f, const char *json, size_t len, struct err *e)
{
	struct plan *plan = NULL, *old;
	cJSON *parsed;
	int rc;

	if (len > PLAN_SIZE_MAX)
		return err_set(e, -EBADMSG, "a fault plan has at most %d bytes", PLAN_SIZE_MAX);
	rc = asset_json_parse(json, len, &parsed, e);
	if (rc)
		return rc;
	rc = plan_new(parsed, &plan, e);
	cJSON_Delete(parsed);
	if (rc)
		return rc;
	pthread_mutex_lock(&f->lock);
	old = f->plan;
	f->plan = plan;
	pthread_mutex_unlock(&f->lock);
	free(old);
	return 0;
}

int faults_load(struct faults *f, const char *path, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(PLAN_SIZE_MAX);
	int rc = readfile(path, false, &text, e);

	if (rc)
		return rc;
	rc = faults_set(f, buf_str(&text), text.len, e);
	return rc ? err_prefix(e, rc, "%s: ", path) : 0;
}

static bool rule_matches(const struct rule *rule, const char *method, const char *path)
{
	return (!rule->method[0] || fnmatch(rule->method, method, 0) == 0) &&
	       (!rule->path[0] || fnmatch(rule->path, path, 0) == 0);
}

/* Counts the request; true when the rule's fault is for it. Needs the lock. */
static bool rule_take(struct rule *rule)
{
	if (rule->seen < rule->skip) {
		rule->seen++;
		return false;
	}
	if (!rule->times)
		return true;
	if (rule->seen - rule->skip >= rule->times)
		return false;
	rule->seen++;
	return true;
}

void faults_match(struct faults *f, const char *method, const char *path, struct fault *out)
{
	size_t i;

	memset(out, 0, sizeof(*out));
	out->retry_after = -1;
	out->truncate = -1;
	pthread_mutex_lock(&f->lock);
	for (i = 0; f->plan && i < f->plan->n; i++) {
		struct rule *rule = &f->plan->rules[i];

		if (rule_matches(rule, method, path) && rule_take(rule)) {
			*out = rule->fault;
			break;
		}
	}
	pthread_mutex_unlock(&f->lock);
}
