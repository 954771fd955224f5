/*
 * remote - the service behind a mount, as somebody else's client sees it: one workspace of it, made
 * for the purpose. Ends the program when the service does not do what it is asked.
 */
#ifndef MLENVFS_TESTS_REMOTE_H
#define MLENVFS_TESTS_REMOTE_H

#include "tests/model/service.h"
#include "tests/model/tree.h"

struct remote;

/* Makes the workspace in the embedded service at url. */
struct remote *remote_new(const char *url, const char *token, const char *workspace);
void remote_free(struct remote *r);

/* As in backend.h. */
void remote_put(struct remote *r, const struct version *fields, struct tree *context);
void remote_tag(struct remote *r, const char *env, const char *version, const char *key,
		const char *value);
void remote_each(struct remote *r, service_tell_fn *tell, void *arg);
bool remote_context_file(struct remote *r, const char *uri, size_t i, struct service_file *out);

/* What it can be made to do; returns what it does from now on. */
enum service_fault remote_fault(struct remote *r, enum service_fault fault);

#endif
