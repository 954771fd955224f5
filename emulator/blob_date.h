/*
 * blob_date - times as HTTP and SAS tokens write them. Independent of the locale.
 */
#ifndef MLENVFS_EMULATOR_BLOB_DATE_H
#define MLENVFS_EMULATOR_BLOB_DATE_H

#include <stdint.h>

enum { BLOB_DATE_SIZE = 32 };

/* ns since the epoch as "Wed, 14 Sep 2022 20:33:51 GMT". */
void blob_date_format(int64_t ns, char out[BLOB_DATE_SIZE]);

/* The reverse, in ns. -EINVAL when it is not such a time. */
int blob_date_parse(const char *text, int64_t *ns);

/* "2022-09-14", "2022-09-14T20:33Z" or "2022-09-14T20:33:51[.fraction]Z" in ns; -EINVAL. */
int blob_date_parse_iso(const char *text, int64_t *ns);

#endif
