/*
 * yamlout - writes YAML scalars with stable quoting, so that what is rendered is the same bytes on
 * every machine and in every release. The caller writes indentation and line ends.
 */
#ifndef MLENVFS_CLIENT_YAMLOUT_H
#define MLENVFS_CLIENT_YAMLOUT_H

#include <stddef.h>

#include "client/buf.h"

/*
 * Appends text as a scalar that reads back as exactly this text (as a string): plain where YAML 1.1
 * and 1.2 readers agree that it is a string, else in double quotes with escapes. Never folded,
 * never more than one line. For block context: not between [ ] or { }. Bytes that are not UTF-8 are
 * an error of the caller (check first); they become escapes.
 */
int yamlout_scalar(struct buf *b, const char *text, size_t len);

/* Like yamlout_scalar, but text of several lines becomes a literal block ("|", "|-", "|+") indented
 * by indent spaces where a block can hold it exactly. Appends no line end after the last line. */
int yamlout_text(struct buf *b, const char *text, size_t len, int indent);

/*
 * Appends text as a key and its ":". indent is the column of the key; a key too long to be a simple
 * one is written in the "? " form.
 */
int yamlout_key(struct buf *b, const char *text, size_t len, int indent);

/* Appends n spaces. */
int yamlout_indent(struct buf *b, int n);

#endif
