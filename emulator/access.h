/*
 * access - who may ask: the service's own token, or one that Entra gave.
 */
#ifndef MLENVFS_EMULATOR_ACCESS_H
#define MLENVFS_EMULATOR_ACCESS_H

#include "emulator/entra.h"
#include "emulator/exchange.h"

/*
 * What the request's bearer token is worth to those who take the audiences (enum entra_audience;
 * none: only the service's own token will do). Always good where the service asks for no token.
 */
enum entra_verdict access_check(const struct emu *emu, const struct emu_request *req,
				unsigned int audiences);

/* Makes the reply the 401 that a verdict calls for, with its challenge. */
void access_refuse(struct exchange *x, enum entra_verdict verdict);

#endif
