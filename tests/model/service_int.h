/* service_int - what the store of the service in memory shares with its operations. */
#ifndef MLENVFS_TESTS_SERVICE_INT_H
#define MLENVFS_TESTS_SERVICE_INT_H

#include <pthread.h>

#include "tests/model/service.h"

enum { ENVS_MAX = 64, VERSIONS_MAX = 256, CONTEXTS_MAX = 512 };

struct service_env {
	char *name;
	bool archived;
	struct version *versions[VERSIONS_MAX];
	size_t n;
};

struct service_context {
	char *uri;
	struct service_file *files; /* owned, as their texts are */
	size_t n;
};

struct service {
	struct source source;
	pthread_mutex_t lock;
	/* protected by lock */
	struct service_env envs[ENVS_MAX];
	size_t n_envs;
	struct service_context contexts[CONTEXTS_MAX];
	size_t n_contexts;
	struct service_counts counts;
	enum service_fault fault;
	bool cut;
	int64_t clock; /* seconds since the first version */
};

extern const struct source_ops service_ops;

/* All of these under the lock. */
struct service_env *service_find_env(struct service *s, const char *name);
struct version **service_find_version(struct service_env *env, const char *version);
struct service_context *service_find_context(struct service *s, const char *uri);
void service_store(struct service *s, const struct version *v);
const char *service_store_context(struct service *s, const struct service_file *files, size_t n);
bool service_take_out(struct service *s, const char *env, const char *version);
bool service_take_out_env(struct service *s, const char *env);

/* Conda text as the service gives it back; to be freed, NULL for NULL. Without the lock. */
char *service_conda(const char *conda);

#endif
