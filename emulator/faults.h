/*
 * faults - what to do wrong, for tests: a plan read from a JSON file, matched against requests.
 *
 * {"rules": [ {"method": "GET", "path": "?*?environments?*", "skip": 2, "times": 1,
 *              "status": 429, "retry_after": 1} ]}
 *
 * method and path (fnmatch patterns in which * matches slashes too; the path without its query,
 * as sent; both optional: anything) choose the requests; the first rule that matches and is
 * neither still skipping nor used up applies. docs/faults.md has every member. The plan can be
 * replaced while the service runs (PUT /__mlenvfs/faults).
 */
#ifndef MLENVFS_EMULATOR_FAULTS_H
#define MLENVFS_EMULATOR_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/err.h"

struct faults;

/* What one request gets. All zero: nothing wrong. Applied by server.c. */
struct fault {
	bool active;
	int status;                 /* answer this status instead of asking the route; 0: ask it */
	char code[64];              /* error code in that answer's body; "" : a usual one */
	int retry_after;            /* seconds, sent as Retry-After; -1: not sent */
	unsigned int delay_ms;      /* wait before anything is sent */
	unsigned int body_delay_ms; /* wait after the headers and half of the body */
	int64_t truncate;     /* send the right length but close after so many bytes; -1: no */
	int64_t wrong_length; /* announce so many bytes more (or fewer, negative); 0: no */
	bool reset;           /* TCP reset instead of an answer */
	bool close;           /* close without an answer */
	bool garbage;         /* bytes that are not HTTP */
	bool garbage_body;    /* status 200 and a body that is not JSON */
	uint64_t huge;        /* a body of so many bytes */
	bool half_close;      /* end our side without an answer, go on reading */
	bool corrupt;         /* one byte of the body is another one */
	bool lost;            /* do the request, then close without an answer */
	bool duplicate_page;  /* lists: nextLink leads to the same page again */
	bool skip_page;       /* lists: nextLink leads past the next page */
	char body[1024];      /* with status: this body; "": an ARM error body */
};

struct faults *faults_new(void);
void faults_free(struct faults *f);

/* Replaces the plan. -EBADMSG with a text when it is not a plan; the old one stays then. Any
 * thread. */
int faults_set(struct faults *f, const char *json, size_t len, struct err *e);
int faults_load(struct faults *f, const char *path, struct err *e);

/* Fills *out for this request and counts it. Any thread. */
void faults_match(struct faults *f, const char *method, const char *path, struct fault *out);

#endif
