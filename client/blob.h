/*
 * blob - build contexts in Azure Blob Storage: where one lies, who may read it, its files.
 *
 * A place is parsed from a contextUri, which is whatever somebody wrote into a version; an access
 * is what lets us in. They are brought together only by datastore.h, which checks that the secret
 * belongs to exactly this account and container. Source: azureml-rest.md sections 8 to 10.
 */
#ifndef MLENVFS_CLIENT_BLOB_H
#define MLENVFS_CLIENT_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/asset.h"
#include "client/credential.h"
#include "client/http.h"
#include "client/url.h"

#define BLOB_API_VERSION "2021-12-02"

enum {
	BLOB_PAGES_MAX = 10000,
	BLOB_LIST_MAX = 64 * 1024 * 1024, /* bytes of one page of a list */
	BLOB_PART_MAX = 8 * 1024 * 1024,  /* bytes of one upload request */
	BLOB_SMALL_ANSWER = 64 * 1024,    /* bytes of the answer to anything else */
};

/* A folder of a container. All strings owned; blob_place_clear(). */
struct blob_place {
	struct url origin; /* its path and query are not used */
	bool path_style;   /* the account is the first part of the path, not of the host */
	char *account;
	char *container;
	char *prefix; /* decoded; "" or ending in a slash */
	char *sas;    /* a signature that the URI itself carries, without '?'; or NULL */
};

enum blob_access_kind { BLOB_ANONYMOUS, BLOB_SHARED_KEY, BLOB_SAS, BLOB_BEARER };

/* What lets us in; the secret is wiped by blob_access_clear(). */
struct blob_access {
	enum blob_access_kind kind;
	char *secret;                  /* account key (base64), or SAS without '?' */
	struct credential *credential; /* BLOB_BEARER; borrowed */
};

/*
 * Parses "https://{account}.blob.{suffix}/{container}/{prefix}", or path-style
 * "http://{host}/{account}/{container}/{prefix}" where the host is local, an address, has a port,
 * or is the endpoint's. -EBADMSG when it is neither; -ENOMEM.
 */
int blob_place_parse(const char *uri, const struct url *endpoint, struct blob_place *out,
		     struct err *e);
void blob_place_clear(struct blob_place *p);
#define _cleanup_place_ __attribute__((cleanup(blob_place_clear)))

/* Same host, account and container. */
bool blob_same_container(const struct blob_place *a, const struct blob_place *b);

/* Appends the URL of the folder prefix (decoded) in p's container, no signature. */
int blob_add_url(struct buf *b, const struct blob_place *p, const char *prefix);

void blob_access_clear(struct blob_access *a);
#define _cleanup_access_ __attribute__((cleanup(blob_access_clear)))

/* One request. Names are in the container, decoded; name NULL: the container itself. */
struct blob_request {
	const char *method;
	const char *name;
	size_t name_len;
	const struct kv *params; /* decoded */
	size_t n_params;
	const struct kv *headers; /* besides x-ms-version, x-ms-date and Authorization */
	size_t n_headers;
	const void *body;
	size_t body_len;
	size_t max_body;
};

/* As http_perform(): 0 with whatever status. */
int blob_perform(struct http *h, const struct blob_place *p, const struct blob_access *a,
		 const struct blob_request *q, struct call *c, struct http_response *out,
		 struct err *e);

/* Describes an answer that is an error, in storage's words; returns its errno. */
int blob_error(const struct blob_place *p, const struct blob_request *q,
	       const struct http_response *r, struct err *e);

/* The files below the place, as a context with that uri. */
int blob_list(struct http *h, const struct blob_place *p, const struct blob_access *a,
	      const char *uri, struct call *c, struct context **out, struct err *e);

/*
 * Appends up to len bytes of a file from offset to out; fewer only at its end. -EIO when the file
 * is not the listed one any more, or its bytes are not those of its checksums (blob_read.c).
 */
int blob_read(struct http *h, const struct blob_place *p, const struct blob_access *a,
	      const struct context_file *file, uint64_t offset, size_t len, struct call *c,
	      struct buf *out, struct err *e);

/* ---- blob_list.c, for its test ---- */

/* The files of one page of a list, and where the next one begins. */
struct blob_page {
	struct context_file *files; /* strings owned, see blob_page_clear() */
	size_t n;
	size_t cap;
	char *next_marker; /* NULL: the last page */
};

/* Adds the files of an answer to List Blobs whose names begin with prefix (taken off). */
int blob_page_parse(const char *xml, size_t len, const char *prefix, struct blob_page *page,
		    struct err *e);
void blob_page_clear(struct blob_page *page);

#endif
