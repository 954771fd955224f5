#include "client/image.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

#include "client/asset_json.h"
#include "client/cleanup.h"
#include "client/jsonwipe.h"

/* ---- states ---- */

static const struct {
	const char *name;
	enum image_state state;
} states[] = {
	{"Unknown", IMAGE_UNKNOWN},
	{"NotStarted", IMAGE_NOT_STARTED},
	{"Queued", IMAGE_QUEUED},
	{"Running", IMAGE_RUNNING},
	{"Succeeded", IMAGE_SUCCEEDED},
	{"Failed", IMAGE_FAILED},
	{"Canceled", IMAGE_CANCELED},
	/* other words for the same */
	{"GettingOrProvisioningACR", IMAGE_RUNNING},
	{"Cancelled", IMAGE_CANCELED},
};

const char *image_state_name(enum image_state state)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (states[i].state == state)
			return states[i].name;
	return states[0].name;
}

enum image_state image_state_parse(const char *name)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (strcasecmp(states[i].name, name) == 0)
			return states[i].state;
	return IMAGE_UNKNOWN;
}

bool image_state_is_final(enum image_state state)
{
	return state == IMAGE_SUCCEEDED || state == IMAGE_FAILED || state == IMAGE_CANCELED;
}

/* ---- JSON ---- */

static void wipe_free(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return false;
	return true;
}

/* A copy of a member that is a word: NULL when it is absent, null or empty. */
static int take_word(const cJSON *object, const char *key, size_t max, char **out, struct err *e)
{
	const cJSON *m = cJSON_GetObjectItemCaseSensitive(object, key);

	*out = NULL;
	if (!m || cJSON_IsNull(m))
		return 0;
	if (!cJSON_IsString(m))
		return err_set(e, -EBADMSG, "%s is not a text", key);
	if (!m->valuestring[0])
		return 0;
	if (strlen(m->valuestring) > max || !is_printable(m->valuestring))
		return err_set(e, -EBADMSG, "%s is too long, or no word", key);
	*out = strdup(m->valuestring);
	return *out ? 0 : err_set(e, -ENOMEM, "no memory for %s", key);
}

static int parse_object(const char *json, size_t len, cJSON **out, struct err *e)
{
	int rc = asset_json_parse(json, len, out, e);

	if (!rc && !cJSON_IsObject(*out)) {
		cJSON_Delete(*out);
		*out = NULL;
		rc = err_set(e, -EBADMSG, "the answer is not an object");
	}
	return rc;
}

/* ---- a build ---- */

void image_build_clear(struct image_build *b)
{
	free(b->stage);
	wipe_free(&b->log);
	*b = (struct image_build){0};
}

/* What is neither of the words of a build under way is an end of it (section 12, 4). */
static bool is_final(const char *stage)
{
	enum image_state state = image_state_parse(stage);

	return state != IMAGE_QUEUED && state != IMAGE_RUNNING && state != IMAGE_NOT_STARTED;
}

int image_build_parse(const char *json, size_t len, struct image_build *out, struct err *e)
{
	cJSON *root = NULL;
	int rc = parse_object(json, len, &root, e);

	*out = (struct image_build){0};
	if (!rc)
		rc = take_word(root, "status", IMAGE_TEXT_MAX, &out->stage, e);
	if (!rc && !out->stage)
		rc = err_set(e, -EBADMSG, "a build's state has no status");
	if (!rc)
		rc = take_word(root, "logUrl", IMAGE_JSON_MAX, &out->log, e);
	/* Its texts may be secrets: a signed URL. */
	json_wipe(root);
	if (rc) {
		image_build_clear(out);
		return rc;
	}
	assert(out->stage);
	out->state = image_state_parse(out->stage);
	out->final = is_final(out->stage);
	return 0;
}

/* ---- an image ---- */

void image_clear(struct image *i)
{
	free(i->name);
	free(i->repository);
	free(i->registry);
	free(i->digest);
	*i = (struct image){0};
}

/* The first part of a name is a registry's host when it has a dot or port, as docker has it. */
static bool names_registry(const char *name)
{
	size_t n = strcspn(name, "/");

	return name[n] == '/' && (memchr(name, '.', n) || memchr(name, ':', n) ||
				  strncmp(name, "localhost/", 10) == 0);
}

/* "registry/a/b:tag@sha256:..." into its parts; i->registry may be known already. */
static int split_name(struct image *i, const char *name)
{
	size_t n = strcspn(name, "@"), tag;
	const char *rest = name;

	if (name[n] == '@' && !(i->digest = strdup(name + n + 1)))
		return -ENOMEM;
	if (names_registry(name)) {
		size_t host = strcspn(name, "/");

		free(i->registry);
		i->registry = strndup(name, host);
		if (!i->registry)
			return -ENOMEM;
		rest += host + 1;
		n -= host + 1;
	}
	tag = strcspn(rest, ":");
	i->repository = strndup(rest, tag < n ? tag : n);
	return i->repository ? 0 : -ENOMEM;
}

static int join_name(struct image *i, const char *name)
{
	_cleanup_buf_ struct buf full = BUF_INIT(2 * IMAGE_TEXT_MAX + 2);

	if (i->registry && !names_registry(name))
		buf_addf(&full, "%s/", i->registry);
	buf_addstr(&full, name);
	i->name = buf_steal(&full, NULL);
	return i->name ? 0 : -ENOMEM;
}

static int take_image(const cJSON *root, struct image *out, struct err *e)
{
	const cJSON *image = cJSON_GetObjectItemCaseSensitive(root, "dockerImage");
	const cJSON *registry = cJSON_GetObjectItemCaseSensitive(image, "registry");
	_cleanup_free_ char *name = NULL;
	int rc = take_word(registry, "address", IMAGE_TEXT_MAX, &out->registry, e);

	out->exists = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "imageExistsInRegistry"));
	if (!rc)
		rc = take_word(image, "name", IMAGE_TEXT_MAX, &name, e);
	if (rc || !name)
		return rc;
	rc = split_name(out, name);
	if (!rc)
		rc = join_name(out, name);
	return rc ? err_set(e, rc, "no memory for an image's name") : 0;
}

int image_parse(const char *json, size_t len, struct image *out, struct err *e)
{
	cJSON *root = NULL, *image;
	int rc = parse_object(json, len, &root, e);

	*out = (struct image){0};
	if (rc)
		return rc;
	rc = take_image(root, out, e);
	image = cJSON_DetachItemFromObjectCaseSensitive(root, "dockerImage");
	json_wipe(cJSON_DetachItemFromObjectCaseSensitive(image, "registry"));
	cJSON_Delete(image);
	cJSON_Delete(root);
	if (rc)
		image_clear(out);
	return rc;
}

bool image_is_in_log(const char *text, size_t len, const char *repository)
{
	return len && *repository && memmem(text, len, repository, strlen(repository));
}
