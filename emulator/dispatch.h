/*
 * dispatch - finds the route of a request, checks what all routes need (token, api-version, scope),
 * and has it answered.
 */
#ifndef MLENVFS_EMULATOR_DISPATCH_H
#define MLENVFS_EMULATOR_DISPATCH_H

#include "emulator/emu_int.h"

/* Whether the path is one of blobs, or one of tests and set-up (never counted, never faulty). */
bool dispatch_is_blob(const char *path);
bool dispatch_is_control(const char *path);

/*
 * Whether the request may go on: blob requests carry their own signatures; all others but those
 * that come before a sign-in need a token (access.h).
 */
bool dispatch_authorized(struct emu *emu, const struct emu_request *req);

/* Answers the request; always fills reply. */
void dispatch(struct emu *emu, const struct emu_request *req, struct emu_reply *reply);

/* An error answer in the form that the path's clients expect (ARM or data plane). */
void dispatch_error(const struct emu_request *req, struct emu_reply *reply, int status,
		    const char *code, const char *message);

/* The short name that requests of this kind are counted under ("GET versions"). */
const char *dispatch_name(const struct emu_request *req);

#endif
