#include "client/crc64.h"

#include <pthread.h>

#define POLYNOMIAL UINT64_C(0x9A6C9329AC4BC9B5)

static uint64_t table[256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
	for (unsigned int i = 0; i < 256; i++) {
		uint64_t v = i;

		for (int bit = 0; bit < 8; bit++)
			v = v & 1 ? v >> 1 ^ POLYNOMIAL : v >> 1;
		table[i] = v;
	}
}

uint64_t crc64(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t crc = ~UINT64_C(0);

	pthread_once(&table_once, make_table);
	for (size_t i = 0; i < len; i++)
		crc = table[(crc ^ p[i]) & 0xff] ^ crc >> 8;
	return ~crc;
}

void crc64_text(const void *data, size_t len, char out[CRC64_TEXT])
{
	uint64_t crc = crc64(data, len);
	unsigned char bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (unsigned char)(crc >> (8 * i));
	base64_encode(bytes, sizeof(bytes), out);
}
