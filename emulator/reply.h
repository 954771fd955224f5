/*
 * reply - what every answer of the management plane has in common: error bodies and headers.
 * Source: azureml-rest.md sections 5 and 6.
 */
#ifndef MLENVFS_EMULATOR_REPLY_H
#define MLENVFS_EMULATOR_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "emulator/emu_int.h"

/* ARM's error body, the one of the data plane (regional hosts), or Entra's. */
enum reply_plane { REPLY_ARM, REPLY_DATA, REPLY_ENTRA };

/* An empty answer: status 200, no body, room for EMU_BODY_MAX bytes. */
void reply_init(struct emu_reply *r);
void reply_free(struct emu_reply *r);

/*
 * Makes r an error answer, whatever it held before. code: "UserError", ...; the text of inner
 * error ("NotFoundError") follows from the status.
 */
void reply_error(struct emu_reply *r, enum reply_plane plane, int status, const char *code,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The usual error code for a status. */
const char *reply_code(int status);

/* The status for the errno of a failed operation on the store, with e's text as its message. */
void reply_failure(struct emu_reply *r, enum reply_plane plane, int error, const struct err *e);

/* Adds the headers that every answer carries. seconds: how long it took. */
void reply_headers(struct emu_reply *r, const char *method, double seconds);

/* A random UUID in lower case. -EIO when there is no randomness. */
enum { GUID_SIZE = 37 };
int guid_new(char out[GUID_SIZE]);

#endif
