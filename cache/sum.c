#include "cache/sum.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <openssl/evp.h>

#include "client/base64.h"
#include "client/sha256.h"

static const char name_letters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int sum_of(const void *data, size_t len, struct sum *out)
{
	return EVP_Digest(len ? data : "", len, out->bytes, NULL, sha256(), NULL) ? 0 : -ENOMEM;
}

static bool add_parts(EVP_MD_CTX *ctx, const struct sum_part *parts, size_t n)
{
	bool ok = true;

	for (size_t i = 0; ok && i < n; i++) {
		const uint64_t len = parts[i].len;

		ok = EVP_DigestUpdate(ctx, &len, sizeof(len)) &&
		     (!len || EVP_DigestUpdate(ctx, parts[i].data, parts[i].len));
	}
	return ok;
}

int sum_parts(const struct sum_part *parts, size_t n, struct sum *out)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx && EVP_DigestInit_ex(ctx, sha256(), NULL) && add_parts(ctx, parts, n) &&
		  EVP_DigestFinal_ex(ctx, out->bytes, NULL);

	EVP_MD_CTX_free(ctx);
	return ok ? 0 : -ENOMEM;
}

bool sum_equal(const struct sum *a, const struct sum *b)
{
	return memcmp(a->bytes, b->bytes, SUM_SIZE) == 0;
}

void sum_name(const struct sum *s, char out[SUM_NAME_SIZE])
{
	char text[BASE64_SIZE(SUM_SIZE)];

	base64_encode(s->bytes, SUM_SIZE, text);
	for (size_t i = 0; i < SUM_NAME_SIZE - 1; i++)
		out[i] = (char)(text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i]);
	out[SUM_NAME_SIZE - 1] = '\0';
}

bool sum_is_name(const char *name)
{
	size_t len = strlen(name);

	return len == SUM_NAME_SIZE - 1 && strspn(name, name_letters) == len;
}
