/*
 * buf - a growable run of bytes with a hard upper bound.
 *
 * Every buffer names the most it may ever hold, so nothing that comes from outside can exhaust
 * memory. Failures stick: after one, further appends do nothing and buf_error() says why, so a
 * renderer appends freely and checks once. data is always NUL-terminated at data[len] (once
 * anything was appended), but may hold NUL bytes before that.
 */
#ifndef MLENVFS_CLIENT_BUF_H
#define MLENVFS_CLIENT_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max; /* the most bytes it may hold */
	int error;  /* 0, -ENOMEM, or -EFBIG when max would be passed */
};

#define BUF_INIT(limit)        \
	{                      \
		.max = (limit) \
	}

/* All of these return 0 or the buffer's (sticky) error. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_addstr(struct buf *b, const char *s);
int buf_addch(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static inline int buf_error(const struct buf *b)
{
	return b->error;
}

/* Appends what fd gives, to its end; what it read in pieces is wiped. Also -errno of read(2). */
int buf_read(struct buf *b, int fd);

/* The content as a string; "" when nothing was appended. Borrowed until the next append. */
const char *buf_str(const struct buf *b);

/* Empties the buffer and its error; keeps the memory. */
void buf_reset(struct buf *b);

/* Frees the memory; the buffer can be used again. Wipe first what was secret: buf_wipe(). */
void buf_free(struct buf *b);

/* Overwrites the content with zeros, then frees it. */
void buf_wipe(struct buf *b);

/*
 * Hands the memory to the caller (free() it), NUL-terminated; its length goes to *len when len is
 * not NULL. The buffer is empty afterwards. NULL when there is an error or no memory.
 */
char *buf_steal(struct buf *b, size_t *len);

/* For `_cleanup_buf_ struct buf b = BUF_INIT(...)`. */
static inline void buf_cleanup(struct buf *b)
{
	buf_free(b);
}
#define _cleanup_buf_ __attribute__((cleanup(buf_cleanup)))

#endif
