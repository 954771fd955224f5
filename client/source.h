/*
 * source - what can be asked of a place that holds environments.
 *
 * client/ implements it over HTTPS, cache/ wraps another source, tests have one in memory. Layers
 * stack; fs/mount.c shows the order.
 *
 * Every method blocks its caller until the answer is there, the call's deadline has passed or the
 * call was cancelled (call.h); none holds a lock meanwhile. All may be called from any thread, any
 * number at once. They return 0 or a negative errno and describe it in e (which may be NULL):
 *
 *   -ENOENT       there is no such thing
 *   -EACCES       not signed in, or not allowed
 *   -EBADMSG      the answer can't be understood
 *   -EFBIG        what is asked or answered is larger than allowed
 *   -ETIMEDOUT    no (complete) answer in time
 *   -EHOSTUNREACH the service can't be reached
 *   -EINPROGRESS  the service has accepted it, and is not done with it in time: it goes on
 *   -EBUSY        throttled until the deadline
 *   -EAGAIN       a CALL_PREFETCH that would take what others need; nothing was asked
 *   -EIO          the service failed
 *   -EEXIST       a create of what exists
 *   -ENODATA      a change of a tag that is not there
 *   -EINVAL       the service refuses the request
 *   -EROFS        it can't be changed here
 *   -EPERM        it can't be done here at all
 *   -EOPNOTSUPP   this service does not offer it
 *   -ECANCELED    the caller cancelled
 *   -ENOMEM
 *
 * Whatever is returned through an out pointer is a reference that the caller owns.
 */
#ifndef MLENVFS_CLIENT_SOURCE_H
#define MLENVFS_CLIENT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/asset.h"
#include "client/call.h"
#include "client/err.h"
#include "client/image.h"

struct buf;
struct cJSON;
struct source;

/*
 * One file of a build context to be uploaded; the content is read from the open descriptor. from
 * and from_file (both or neither) are a hint: a file of a published context of the same scope that
 * has the same size and bytes. Where the service can copy it from there it is not sent again; where
 * it can't, or says that the copy has not the bytes that fd has, fd is sent.
 */
struct upload_file {
	const char *path; /* relative to the context, '/' between parts, no '.' or '..' */
	int fd;
	uint64_t size;
	const struct context *from; /* borrowed, as from_file is, which lies in it */
	const struct context_file *from_file;
};

/* One tag to be set or removed. */
enum tag_flags {
	TAG_CREATE = 1,   /* -EEXIST when it is there */
	TAG_REPLACE = 2,  /* -ENODATA when it is not */
	TAG_IF_THERE = 4, /* removing what is not there is no error */
};
struct tag_change {
	const char *key;   /* not empty, UTF-8 */
	const char *value; /* UTF-8; NULL: remove the tag, -ENODATA when it is not there */
	unsigned int flags;
};

/* What update_version() is to change; what is not named stays as it is. */
struct version_change {
	const struct tag_change *tags; /* one after the other */
	size_t n_tags;
	bool replace_tags; /* the whole set becomes exactly these; their values are not NULL and
			      their flags don't count */
	bool set_description;
	const char *description; /* NULL or "": none */
	int archived;            /* -1: leave, 0: restore, 1: archive */
};

#define VERSION_CHANGE_INIT    \
	{                      \
		.archived = -1 \
	}

struct source_ops {
	/* The workspaces and registries that this source shows. */
	int (*list_scopes)(struct source *s, struct call *c, struct scope_list **out,
			   struct err *e);

	/* All environments of a scope, the archived ones too. */
	int (*list_envs)(struct source *s, struct scope *scope, struct call *c,
			 struct env_list **out, struct err *e);

	/*
	 * All versions of an environment, the archived ones too, each complete: an item that the
	 * list gives without image and build was fetched by itself, and a curated one completed
	 * from its registry where that has it. -ENOENT when there is no such environment.
	 */
	int (*list_versions)(struct source *s, struct scope *scope, const char *env, struct call *c,
			     struct version_list **out, struct err *e);

	/* One version, read from the service itself (never from a list). */
	int (*get_version)(struct source *s, struct scope *scope, const char *env,
			   const char *version, struct call *c, struct version **out,
			   struct err *e);

	/*
	 * The files of the version's build context. A context that can't be listed (a git URL)
	 * gives one with no files and a note. -EINVAL when the version has no build context.
	 */
	int (*list_context)(struct source *s, struct scope *scope, struct version *v,
			    struct call *c, struct context **out, struct err *e);

	/*
	 * Reads up to len bytes of a context file from offset and appends them to out; fewer only
	 * at the end of the file. -ESTALE-free: a file whose etag is not the listed one any more is
	 * -EIO with a text that says so.
	 */
	int (*read_context)(struct source *s, struct scope *scope, struct context *ctx,
			    const struct context_file *file, uint64_t offset, size_t len,
			    struct call *c, struct buf *out, struct err *e);

	/* Makes a workspace. -EPERM where that is not offered (Azure). */
	int (*create_workspace)(struct source *s, const char *name, struct call *c,
				struct scope **out, struct err *e);

	/*
	 * Uploads a build context and gives the URI to put into a version's record. What the
	 * service has already is not sent again. Source: azureml-rest.md section 8; registries 11.
	 */
	int (*upload_context)(struct source *s, struct scope *scope, const char *env,
			      const char *version, const struct upload_file *files, size_t n,
			      struct call *c, char **uri_steal, struct err *e);

	/*
	 * Registers a version. v names environment and version and holds what a user can set; the
	 * record as the service has it then goes to *out. -EEXIST when it exists with other
	 * content. Safe to repeat: the same content again is a success.
	 */
	int (*put_version)(struct source *s, struct scope *scope, const struct version *v,
			   struct call *c, struct version **out, struct err *e);

	/*
	 * Changes tags, description or the archived state of a version: reads it from the service,
	 * applies the change to what it says, and sends all of it back, members that we don't know
	 * included. *out is the version as the service says it is then. Nothing is sent when
	 * nothing would differ. Changes of one version through one source happen one after the
	 * other; somebody else's change of the same version between our reading and our sending is
	 * lost (docs/client.md says how long that is).
	 * -EEXIST and -ENODATA as the tags say. -EROFS for curated versions, registries, and where
	 * the service says that the version can't be changed.
	 */
	int (*update_version)(struct source *s, struct scope *scope, const char *env,
			      const char *version, const struct version_change *change,
			      struct call *c, struct version **out, struct err *e);

	/* Archives or restores an environment, in the same way. */
	int (*update_env)(struct source *s, struct scope *scope, const char *env, bool archived,
			  struct call *c, struct env **out, struct err *e);

	/*
	 * Deletes a version, or an environment with all its versions, for good. That it was gone
	 * already is a success where the service says so, else -ENOENT. -EPERM when the service
	 * does not delete it: it can still be archived. -EROFS as above, but registries do delete.
	 */
	int (*delete_version)(struct source *s, struct scope *scope, const char *env,
			      const char *version, struct call *c, struct err *e);
	int (*delete_env)(struct source *s, struct scope *scope, const char *env, struct call *c,
			  struct err *e);

	/*
	 * What there is to be told of it, as a JSON object for the caller (cJSON_Delete()): what is
	 * left of the service's budget, operations under way. NULL: nothing is. 0 or -ENOMEM.
	 */
	int (*about)(struct source *s, struct cJSON **out);

	/*
	 * Image builds (image.h, azureml-rest.md section 12), of workspaces only: -EOPNOTSUPP else.
	 *
	 * Starts one. *location (to be freed) is where it can be asked about from now on, also by
	 * another process; it is no secret. Every call is another build, though the service may
	 * find that there is nothing to do.
	 */
	int (*start_build)(struct source *s, struct scope *scope, const char *env,
			   const char *version, struct call *c, char **location, struct err *e);

	/* How far it is; *out is to be cleared. -ENOENT when the service forgot it. */
	int (*get_build)(struct source *s, struct scope *scope, const char *location,
			 struct call *c, struct image_build *out, struct err *e);

	/* Ends it. -EOPNOTSUPP where the service can't; no error when it has ended already. */
	int (*cancel_build)(struct source *s, struct scope *scope, const char *location,
			    struct call *c, struct err *e);

	/*
	 * Appends up to len (IMAGE_LOG_PART_MAX at the most) bytes of a log, as struct image_build
	 * or find_log() names it, from offset; *size is how long it is now. Nothing at its end.
	 * -ENOENT when it is not there yet; -EACCES also when the name's signature is too old:
	 * get_build() gives another.
	 */
	int (*read_log)(struct source *s, struct scope *scope, const char *log, uint64_t offset,
			size_t len, struct call *c, struct buf *out, uint64_t *size, struct err *e);

	/* The image of a version, registries included; *out is to be cleared. */
	int (*get_image)(struct source *s, struct scope *scope, const struct version *v,
			 struct call *c, struct image *out, struct err *e);

	/*
	 * The newest log of a build of the version that somebody else started, as far as the
	 * service keeps it where it can be found; *log is to be freed. -ENOENT when there is none.
	 */
	int (*find_log)(struct source *s, struct scope *scope, const struct version *v,
			struct call *c, char **log, struct err *e);

	/*
	 * Somebody goes through all versions of a workspace, and will soon find_log() of many: what
	 * these have in common is fetched, where it is not known.
	 */
	int (*expect_logs)(struct source *s, struct scope *scope, struct call *c, struct err *e);

	/* For how many ns find_log() of v would make no request, and find nothing. At once. */
	int64_t (*no_log)(struct source *s, struct scope *scope, const struct version *v);

	/* Ends every request under way with -ECANCELED, and all that follow. */
	void (*stop)(struct source *s);

	void (*free)(struct source *s);
};

/* Implementations begin with this. */
struct source {
	const struct source_ops *ops;
};

static inline void source_free(struct source *s)
{
	if (s)
		s->ops->free(s);
}

#endif
