/*
 * err - why something failed, in words, beside the negative errno that says it in a number.
 *
 * Functions that can fail return 0 (or a count) or a negative errno, and describe it in the
 * `struct err` that the caller passes. The caller may pass NULL when the number is enough.
 * Texts are redacted as they are stored (see redact.h), so an err may always be shown.
 */
#ifndef MLENVFS_CLIENT_ERR_H
#define MLENVFS_CLIENT_ERR_H

enum { ERR_MSG_MAX = 1024 };

struct err {
	int code; /* 0 or a negative errno */
	char msg[ERR_MSG_MAX];
};

#define ERR_INIT      \
	{             \
		0, "" \
	}

/*
 * Stores code (a negative errno) and the formatted text in e, and returns code. e may be NULL.
 * Typical use: return err_set(e, -EBADMSG, "line %d: ...", line);
 */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * Puts the formatted text in front of the message that e holds ("reading x: " + "no such ..."),
 * keeps its code, and returns it. e may be NULL, then `code` is returned.
 */
int err_prefix(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Empties e. e may be NULL. */
void err_clear(struct err *e);

/* The text of e, or the errno's own text when e is NULL or has none. Never NULL. */
const char *err_text(const struct err *e, int code);

#endif
