/* What the regional services say of builds and images: every text that is taken over is one word.
 */
#include "client/image.h"

static const char *const FUZZ_SEEDS[] = {
	"{\"status\":\"Running\",\"logUrl\":\"https://a.blob.core.windows.net/azureml/ImageLogs/b/"
	"build.log?sv=2019&sig=abc%3D\"}",
	"{\"status\":\"GettingOrProvisioningACR\",\"logUrl\":null}",
	"{\"imageExistsInRegistry\":true,\"dockerImage\":{\"name\":\"azureml/"
	"azureml_0123@sha256:ff\","
	"\"registry\":{\"address\":\"x.azurecr.io\",\"username\":null,\"password\":\"p\"}},"
	"\"ingredients\":{\"dockerfile\":\"FROM x\\n\"},\"warnings\":[]}",
	"{\"dockerImage\":{\"name\":\"localhost:5000/a/b:1\",\"registry\":null}}",
};

static const char *const FUZZ_WORDS[] = {
	"{",
	"}",
	"[",
	"]",
	",",
	":",
	"\"",
	"\\\"",
	"@",
	"/",
	"null",
	"true",
	"\\u0000",
	"\\n",
	"\\u0007",
	"\xff",
	"sha256",
	"localhost/",
	"Succeeded",
	"Failed",
	"\"status\":",
	"\"name\":",
	"\"address\":",
	"\"dockerImage\":{",
};

#include "tests/fuzz/driver.h"

static bool is_word(const char *text)
{
	for (const char *p = text; p && *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return false;
	return !text || *text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_build build;
	struct image image;
	struct err e = ERR_INIT;

	if (!image_build_parse((const char *)data, size, &build, &e)) {
		FUZZ_CHECK(build.stage && is_word(build.stage) && is_word(build.log), data, size);
		FUZZ_CHECK(build.final || !image_state_is_final(build.state), data, size);
	} else {
		FUZZ_CHECK(!build.stage && !build.log && e.msg[0], data, size);
	}
	image_build_clear(&build);
	err_clear(&e);
	if (!image_parse((const char *)data, size, &image, &e)) {
		FUZZ_CHECK(is_word(image.name), data, size);
		FUZZ_CHECK(!image.name == !image.repository, data, size);
		FUZZ_CHECK(!image.name || strstr(image.name, image.repository), data, size);
	} else {
		FUZZ_CHECK(!image.name && e.msg[0], data, size);
	}
	image_clear(&image);
	return 0;
}
