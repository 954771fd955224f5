/*
 * cleanup - leaf resources that are released on every way out of a function.
 */
#ifndef MLENVFS_CLIENT_CLEANUP_H
#define MLENVFS_CLIENT_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_p(void *p)
{
	free(*(void **)p);
}

/* Keeps errno, so that it can still be read after the block. */
static inline void cleanup_close_p(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

#define _cleanup_free_  __attribute__((cleanup(cleanup_free_p)))
#define _cleanup_close_ __attribute__((cleanup(cleanup_close_p)))
#define _must_check_    __attribute__((warn_unused_result))

/* Takes the value out of *pp and leaves NULL: a pointer that is handed on instead of freed. */
#define steal_ptr(pp)                                 \
	({                                            \
		__typeof__(*(pp)) steal_tmp_ = *(pp); \
		*(pp) = NULL;                         \
		steal_tmp_;                           \
	})

#endif
