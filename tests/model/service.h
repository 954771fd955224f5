/*
 * service - a small Azure ML in memory, as a struct source: one workspace, environments, versions,
 * and build contexts named by their content. It answers at once, counts what is written, and fails
 * where it is told to. It gives conda text back as the service does, as JSON.
 *
 * The functions beside the source end the program when there is no memory.
 */
#ifndef MLENVFS_TESTS_SERVICE_H
#define MLENVFS_TESTS_SERVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/source.h"

struct service;

#define SERVICE_SCOPE "ws"

enum service_fault {
	FAULT_NONE,
	FAULT_DOWN,   /* nothing answers: -EHOSTUNREACH */
	FAULT_DENIED, /* reading is allowed, writing is -EACCES */
	FAULT_BUSY,   /* writes are throttled: -EBUSY */
	FAULT_PUT,    /* making a version fails: -EIO */
	FAULT_LOST,   /* making a version works, and its answer is lost: -ETIMEDOUT */
	FAULT_UPLOAD, /* uploading fails: -EIO */
	FAULT_LOOK,   /* asking for one version fails: -ETIMEDOUT */
	FAULTS
};

struct service_counts {
	unsigned int puts;    /* versions made */
	unsigned int updates; /* of tags, descriptions, archived states */
	unsigned int deletes;
};

struct service *service_new(void);
void service_free(struct service *s);
struct source *service_source(struct service *s);

/* Nothing that is asked through the source is answered or done any more (cut), or again. */
void service_cut(struct source *source, bool cut);

/* From now on; FAULT_NONE: all is well. */
void service_set_fault(struct service *s, enum service_fault fault);

struct service_counts service_counts(struct service *s);

/* As somebody else has it, without a count: made or replaced; it gets a time. */
void service_put(struct service *s, const struct version *fields);

/* Changes one tag (value NULL: removes it), or with key NULL the description, without a count. */
void service_tag(struct service *s, const char *env, const char *version, const char *key,
		 const char *value);

/* A context that somebody else uploaded; its URI is borrowed for as long as the service lives. */
struct service_file {
	const char *path;
	const char *text;
	size_t len;
};
const char *service_upload(struct service *s, const struct service_file *files, size_t n);

/* Calls tell() for every version there is now, without a lock. */
typedef void service_tell_fn(void *arg, bool env_archived, const struct version *v);
void service_each(struct service *s, service_tell_fn *tell, void *arg);

/* The i-th file of a context; false behind the last. Borrowed. */
bool service_context_file(struct service *s, const char *uri, size_t i, struct service_file *out);

#endif
