/*
 * server - HTTP for the embedded service: libmicrohttpd, a thread for every connection.
 *
 * Reads a request (within bounds), lets the fault plan have its way with it, has dispatch answer
 * it, and sends that. Nothing here knows what the routes mean.
 */
#ifndef MLENVFS_EMULATOR_SERVER_H
#define MLENVFS_EMULATOR_SERVER_H

#include "client/err.h"

struct certs;
struct emu;
struct server;

struct server *server_new(struct emu *emu, struct err *e);

/*
 * Serves on a listening socket, which is the server's from now on (closed on failure too). certs:
 * speaks TLS, 1.2 or newer, with them; NULL: plain HTTP.
 */
int server_listen(struct server *s, int fd, const struct certs *certs, struct err *e);

/* Ends delays and connections, and waits for their threads. NULL is allowed. */
void server_free(struct server *s);

#endif
