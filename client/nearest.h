/*
 * nearest - which known word a mistyped one is closest to.
 */
#ifndef MLENVFS_CLIENT_NEAREST_H
#define MLENVFS_CLIENT_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* The distance at which a known word is no likely meaning of this one any more. */
size_t nearest_limit(const char *word);

/*
 * True when known is closer to word (letters changed, added or dropped; case does not count) than
 * *least, which is then lowered. Start with nearest_limit() and ask for each known word. Words
 * longer than 31 bytes are never close.
 */
bool nearest_closer(const char *word, const char *known, size_t *least);

/* The word of a list (which ends in NULL) that was probably meant, or NULL. Borrowed from the list.
 */
const char *nearest_word(const char *word, const char *const *list);

#endif
