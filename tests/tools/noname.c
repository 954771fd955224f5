/*
 * noname - a library to be preloaded (LD_PRELOAD): a host name of a test's own, which leads to this
 * machine for as long as there is no file NONAME_FILE, and which no name server knows while there
 * is one. NONAME_HOST is the name; every other one is looked up as always.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		struct addrinfo **found)
{
	const char *host = getenv("NONAME_HOST"), *file = getenv("NONAME_FILE");
	getaddrinfo_fn *next = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");

	if (!next)
		abort();
	if (!node || !host || !file || strcmp(node, host) != 0)
		return next(node, service, hints, found);
	return access(file, F_OK) == 0 ? EAI_AGAIN : next("127.0.0.1", service, hints, found);
}
