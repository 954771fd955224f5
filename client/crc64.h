/*
 * crc64 - the checksum that Blob Storage gives in x-ms-content-crc64: polynomial
 * 0x9A6C9329AC4BC9B5 (reflected), all ones before and after; in the header base64 of its eight
 * bytes, the lowest first.
 */
#ifndef MLENVFS_CLIENT_CRC64_H
#define MLENVFS_CLIENT_CRC64_H

#include <stddef.h>
#include <stdint.h>

#include "client/base64.h"

enum { CRC64_TEXT = BASE64_SIZE(8) };

uint64_t crc64(const void *data, size_t len);

/* As the header has it. */
void crc64_text(const void *data, size_t len, char out[CRC64_TEXT]);

#endif
