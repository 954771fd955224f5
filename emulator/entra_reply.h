/*
 * entra_reply - the form of Entra's answers, for those who know nothing else of it.
 */
#ifndef MLENVFS_EMULATOR_ENTRA_REPLY_H
#define MLENVFS_EMULATOR_ENTRA_REPLY_H

#include "emulator/emu_int.h"

/* Appends an error's body for a status that has nothing to do with the request's content. */
void entra_reply_error(struct buf *body, int status, const char *message);

/* Adds the headers that all answers carry. */
void entra_reply_headers(struct emu_reply *r);

#endif
