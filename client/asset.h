/*
 * asset - the records of Azure ML that everything else talks about: scopes (workspaces and
 * registries), environments, environment versions, build contexts, and lists of them.
 *
 * A record is immutable and reference-counted: it is made once from a filled-in struct (whose
 * strings are copied into one block together with the record), shared by any number of threads,
 * and freed with its last reference. Fields are read directly. Absent text is NULL, never "".
 * A list is a snapshot: immutable, reference-counted, sorted by name (strcmp), without doubles.
 *
 * All functions may be called from any thread.
 */
#ifndef MLENVFS_CLIENT_ASSET_H
#define MLENVFS_CLIENT_ASSET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds on what a service may make us hold. Documented limits are far below. */
enum {
	ASSET_NAME_MAX = 1024,        /* bytes in the name of an environment, version, scope */
	ASSET_TEXT_MAX = 1024 * 1024, /* description, one tag, conda text */
	ASSET_KV_MAX = 10000,         /* tags of one version */
	ASSET_LIST_MAX = 1000000,     /* items in one list */
	ASSET_CONTEXT_MAX = 100000,   /* files in one build context */
	ASSET_PATH_MAX = 4096,        /* bytes in the path of a context file */
};

enum scope_kind { SCOPE_WORKSPACE, SCOPE_REGISTRY };

/* A workspace or a registry: what a directory at the root of the mount stands for. */
struct scope {
	atomic_uint refs;
	enum scope_kind kind;
	const char *name;
	const char *subscription;
	const char *resource_group;
	const char *location;      /* region, may be NULL */
	const char *guid;          /* workspaceId / registryId, may be NULL */
	const char *base_url;      /* where its asset routes are; NULL: the ARM endpoint */
	const char *discovery_url; /* regional services, may be NULL */
	bool writable;             /* new versions can be made in it */
	int64_t created;           /* ns since the epoch, 0 when unknown */
	int64_t modified;
};

struct scope *scope_new(const struct scope *fields);
struct scope *scope_ref(struct scope *s);
void scope_unref(struct scope *s); /* NULL is allowed, as for every _unref here */

/* One key and its value; value may be NULL (the schema allows null). */
struct kv {
	const char *key;
	const char *value;
};

/* An environment ("environment container" in the REST API). */
struct env {
	atomic_uint refs;
	const char *name;
	const char *description;
	const struct kv *tags;
	size_t n_tags;
	const char *latest_version; /* hints of the service, may be NULL */
	const char *next_version;
	bool archived;
	int64_t created;
	int64_t modified;
};

struct env *env_new(const struct env *fields);
struct env *env_ref(struct env *e);
void env_unref(struct env *e);

/* One route of inference_config; port 0 and path NULL: not given. */
struct route {
	const char *path;
	int port;
};

enum version_kind {
	VERSION_EMPTY, /* neither image nor build: a curated one as a workspace shows it */
	VERSION_IMAGE,
	VERSION_BUILD,
};

/* An environment version. Published content never changes; description, tags and archived may. */
struct version {
	atomic_uint refs;
	const char *id;      /* ARM id or azureml:// asset id */
	const char *env;     /* the environment's name */
	const char *version; /* the version's name, any text */
	const char *description;
	const struct kv *tags; /* as received, order kept */
	size_t n_tags;
	const struct kv *properties;
	size_t n_properties;
	const char *image;
	const char *conda;           /* as received: JSON text from the service, or YAML */
	const char *context_uri;     /* build.contextUri */
	const char *dockerfile_path; /* build.dockerfilePath; NULL means "Dockerfile" */
	const char *os_type;         /* "linux" or "windows", lower case; NULL: not given */
	const char *stage;
	const char *environment_type; /* "Curated", "UserCreated" */
	const char *provisioning_state;
	const char *auto_rebuild;
	const char *created_by;
	const char *modified_by;
	struct route liveness;
	struct route readiness;
	struct route scoring;
	struct route startup;
	bool anonymous;
	bool archived;
	int64_t created;
	int64_t modified;
};

struct version *version_new(const struct version *fields);

/* What version_new() and env_new() take, of a record that other threads may hold: everything but
 * the count of references, which they may change. Its pointers are the record's. */
struct version version_copy_fields(const struct version *v);
struct env env_copy_fields(const struct env *e);

struct version *version_ref(struct version *v);
void version_unref(struct version *v);

enum version_kind version_kind(const struct version *v);
bool version_is_curated(const struct version *v);

/* What its provisioning state says: being registered still; or never will be. */
bool version_is_unfinished(const struct version *v);
bool version_has_failed(const struct version *v);

/*
 * True when the version's build context is a set of blobs that can be listed; false for a git
 * repository or another URL, which is passed through as it is (spec-yaml.md section 1).
 */
bool version_context_has_files(const struct version *v);

/* dockerfile_path with its default filled in. */
const char *version_dockerfile_path(const struct version *v);

/* The value of a tag; NULL when there is no such tag (or it is null: see *found, may be NULL). */
const char *version_tag(const struct version *v, const char *key, bool *found);

/* True when all fields that a user can set say the same (not ids, times and names). */
bool version_same_content(const struct version *a, const struct version *b);

/* True when both say the same in every field, times included: nothing to tell the kernel. */
bool version_equal(const struct version *a, const struct version *b);
bool env_equal(const struct env *a, const struct env *b);
bool scope_equal(const struct scope *a, const struct scope *b);

/* One file of a build context. Its path is what the service said: not to be trusted. */
struct context_file {
	const char *path; /* relative to the context, '/' between parts, undecoded */
	size_t path_len;  /* may hold NUL bytes */
	uint64_t size;
	int64_t modified; /* ns since the epoch, 0 when unknown */
	const char *etag; /* may be NULL */
	const char *md5;  /* base64, may be NULL */
};

/* The files of a build context, sorted by path (memcmp). Immutable, reference-counted. */
struct context {
	atomic_uint refs;
	const char *uri;  /* where it lies: build.contextUri */
	const char *note; /* why it can't be listed (a git URL, ...); NULL when it was */
	const struct context_file *files;
	size_t n_files;
};

struct context *context_new(const struct context *fields);
struct context *context_ref(struct context *c);
void context_unref(struct context *c);

/* Lists. `_take` consumes the references in items (and on failure releases them). */
#define ASSET_LIST_DECLARE(type)                                                            \
	struct type##_list {                                                                \
		atomic_uint refs;                                                           \
		uint64_t serial; /* another for every list made in this process; never 0 */ \
		size_t count;                                                               \
		struct type *items[];                                                       \
	};                                                                                  \
	struct type##_list *type##_list_take(struct type **items, size_t count);            \
	struct type##_list *type##_list_ref(struct type##_list *l);                         \
	void type##_list_unref(struct type##_list *l);                                      \
	/* The item of that name (borrowed from the list), or NULL. */                      \
	struct type *type##_list_find(const struct type##_list *l, const char *name);

ASSET_LIST_DECLARE(scope)
ASSET_LIST_DECLARE(env)
ASSET_LIST_DECLARE(version)

/*
 * The version that `latest` means: the newest by creation time of those that are not archived
 * (ties: the one whose name sorts last, numbers by value). Borrowed; NULL when there is none.
 * Source: azureml-rest.md section 4.
 */
struct version *version_list_latest(const struct version_list *l);

/* Order of version names: numbers by value, then other text by strcmp. Like strcmp's result. */
int version_name_compare(const char *a, const char *b);

#endif
