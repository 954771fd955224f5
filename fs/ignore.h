/*
 * ignore - the rules of .amlignore and .gitignore: which files of a folder are left out.
 *
 * One pattern a line. "#" begins a comment, "!" takes back what an earlier rule left out, a slash
 * at the end means folders only, a slash elsewhere binds the pattern to the folder of the rules,
 * "*" and "?" and "[...]" match within one name, "**" any number of folders, "\" takes the next
 * character as it is. The last rule that matches decides. What lies in a folder that is left out
 * cannot be taken back, as with git.
 */
#ifndef MLENVFS_FS_IGNORE_H
#define MLENVFS_FS_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/err.h"

enum { IGNORE_SIZE_MAX = 64 * 1024, IGNORE_RULES_MAX = 1000 };

struct ignore;

/* Reads the rules in text. -EFBIG past the bounds, -ENOMEM. */
int ignore_parse(const char *text, size_t len, struct ignore **out, struct err *e);
void ignore_free(struct ignore *ig);

/*
 * Whether the file or folder is left out. path: relative to the folder of the rules, '/' between
 * parts. The folders above it are not looked at. ig may be NULL: no rules. Any thread.
 */
bool ignore_match(const struct ignore *ig, const char *path, bool is_dir);

#endif
