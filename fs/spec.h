/*
 * spec - spec.yml (the CLI v2 environment YAML) to and from the record of a version.
 *
 * Source of the rules: spec-yaml.md sections 1-3, the corpus's bad/manifest.tsv for what is
 * refused, accepted, or accepted with a warning.
 */
#ifndef MLENVFS_FS_SPEC_H
#define MLENVFS_FS_SPEC_H

#include <stdbool.h>
#include <stddef.h>

#include "client/asset.h"
#include "client/buf.h"
#include "client/err.h"

/* Documented limits of the service. */
enum {
	SPEC_NAME_MAX = 255,         /* characters, also of a version */
	SPEC_DESCRIPTION_MAX = 5000, /* characters */
	SPEC_TAGS_MAX = 50,
	SPEC_TAG_KEY_MAX = 100,      /* characters */
	SPEC_TAG_VALUE_MAX = 1000,   /* characters */
	SPEC_SIZE_MAX = 1024 * 1024, /* bytes of spec.yml */
};

/* A place in the text, from 1; line 0: the key is not there. */
struct spec_place {
	int line, column;
};

/* What a spec.yml says. Text is NULL where absent. */
struct spec {
	char *name;
	char *version;
	char *description;
	struct kv *tags; /* in the order written */
	size_t n_tags;
	char *image;
	char *conda_path;   /* conda_file as a path, relative to spec.yml */
	char *conda_inline; /* conda_file given as a mapping: block-style YAML text of it */
	char *build_path;   /* relative path, or a URL */
	bool build_is_url;
	char *dockerfile_path;
	char *os_type; /* lower case */
	struct route liveness, readiness, scoring;
	struct route startup; /* not in the CLI's schema; kept so that no record loses it */
	char *datastore;
	struct spec_place conda_at, build_at, dockerfile_at; /* of the paths, for messages */
	char *warnings; /* one a line, "line L: ..."; NULL when there are none */
};

/*
 * Parses len bytes. -EBADMSG with "line L, column C: what is wrong and what to do" (the first
 * problem), -EFBIG past SPEC_SIZE_MAX, -ENOMEM. Checks everything that can be checked without
 * looking at other files: absolute or climbing paths are refused here (conda_file may climb,
 * "../x.yml": see assetdir.h, build.path and dockerfile_path may not). docs/spec.md lists it all.
 */
int spec_parse(const char *text, size_t len, struct spec **out, struct err *e);
void spec_free(struct spec *s);

/*
 * Whether text may name an environment / a version: -EBADMSG with the reason if not.
 * Letters, digits, '-', '_', '.', 1 to 255 characters, not starting with '.', '-' or '_'.
 */
int spec_check_name(const char *what, const char *name, struct err *e);

/*
 * The record that the spec describes under the given environment and version name. conda is the
 * text of its conda file (NULL: none), context_uri where its build context lies (NULL: none, or
 * taken from the spec when that names a URL). NULL only when memory ran out.
 */
struct version *spec_to_version(const struct spec *s, const char *env, const char *version,
				const char *conda, const char *context_uri);

/*
 * Renders the record as spec.yml: $schema, name, version, image / conda_file / build, os_type,
 * inference_config, description, tags; tags in the order of the record. The same record gives the
 * same bytes everywhere, and the text parses back to the same record. A build context with files is
 * `path: context`; one without (a git URL) is its URL. os_type and dockerfile_path are written out
 * where the record leaves them to their defaults. A version with neither image nor build gets a
 * comment that says so, and is no valid spec. 0, -ENOMEM or -EFBIG.
 */
int spec_render(const struct version *v, struct buf *out);

#endif
