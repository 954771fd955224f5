/*
 * wire - answers that libmicrohttpd would never send: written to the connection's socket by hand,
 * because the fault plan wants them wrong. The connection is closed afterwards.
 */
#ifndef MLENVFS_EMULATOR_WIRE_H
#define MLENVFS_EMULATOR_WIRE_H

#include <stdbool.h>

#include "emulator/emu_int.h"
#include "emulator/faults.h"

/*
 * Waits ms, unless stop_fd becomes readable (the service ends) or the peer of fd goes away.
 * Returns whether the time has passed.
 */
bool wire_wait(int fd, int stop_fd, unsigned int ms);

/* Makes the peer see a reset; on a Unix socket, which knows none, an end. */
void wire_reset(int fd);

/* Ends our side of the connection, and waits (a minute at the most) for the peer to end his. */
void wire_half_close(int fd, int stop_fd);

/* Bytes that are not HTTP. */
void wire_garbage(int fd, int stop_fd);

/* Sends reply with what the fault says of its length and pace. */
void wire_reply(int fd, int stop_fd, const struct emu_reply *reply, const struct fault *fault,
		bool head);

/* Sends a well-formed head and so many bytes of body. */
void wire_huge(int fd, int stop_fd, uint64_t bytes);

#endif
