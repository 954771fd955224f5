/*
 * wire - answers that libmicrohttpd would never send: written to the connection by hand, because
 * the fault plan wants them wrong. The connection is closed afterwards.
 */
#ifndef MLENVFS_EMULATOR_WIRE_H
#define MLENVFS_EMULATOR_WIRE_H

#include <stdbool.h>

#include "emulator/emu_int.h"
#include "emulator/faults.h"

/* A connection while its own thread answers. All borrowed. */
struct wire {
	int fd;
	int stop_fd; /* readable once the service ends */
	void *tls;   /* gnutls_session_t; NULL: not encrypted */
};

/*
 * Waits ms, unless the service ends or the peer goes away. Returns whether the time has passed.
 */
bool wire_wait(const struct wire *w, unsigned int ms);

/* Makes the peer see a reset; on a Unix socket, which knows none, an end. */
void wire_reset(const struct wire *w);

/* Ends our side of the connection, and waits (a minute at the most) for the peer to end his. */
void wire_half_close(const struct wire *w);

/* Bytes that are not HTTP. */
void wire_garbage(const struct wire *w);

/* Sends reply with what the fault says of its length and pace. */
void wire_reply(const struct wire *w, const struct emu_reply *reply, const struct fault *fault,
		bool head);

/* Sends a well-formed head and so many bytes of body. */
void wire_huge(const struct wire *w, uint64_t bytes);

#endif
