/*
 * utf8 - what the bytes of a text stand for. Any thread.
 */
#ifndef MLENVFS_CLIENT_UTF8_H
#define MLENVFS_CLIENT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decodes the character at text (len > 0 bytes are left) into *cp and returns its size in bytes;
 * 0 when there is none: bad, overlong or cut off sequences, surrogates, past U+10FFFF.
 */
size_t utf8_decode(const char *text, size_t len, uint32_t *cp);

bool utf8_valid(const char *text, size_t len);

/* Number of characters; a byte that belongs to none counts as one. */
size_t utf8_count(const char *text, size_t len);

/*
 * True for characters that YAML and JSON readers take raw within a line: no controls, no line or
 * paragraph separators, no byte order mark, no non-characters of the basic plane.
 */
bool utf8_printable(uint32_t cp);

/*
 * Writes the beginning of a text for use in a message: at most a few dozen characters, what is not
 * printable replaced by '?', "..." where it was cut. Returns out.
 */
enum { UTF8_EXCERPT_SIZE = 192 };
const char *utf8_excerpt(char out[UTF8_EXCERPT_SIZE], const char *text, size_t len);

#endif
