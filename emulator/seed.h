/*
 * seed - what a new store begins with: the workspace `local`, and the registry of curated
 * environments with a few small ones of our own.
 */
#ifndef MLENVFS_EMULATOR_SEED_H
#define MLENVFS_EMULATOR_SEED_H

#include "emulator/emu_int.h"

/* Makes whatever of it is not there. Can be repeated. 0 or a negative errno. */
int seed(struct emu *emu, struct err *e);

#endif
