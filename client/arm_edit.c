/*
 * A change of a resource's own JSON: what we don't know of it goes back as it came.
 */
#include <errno.h>
#include <string.h>

#include "client/arm_int.h"
#include "client/utf8.h"

static const cJSON *member(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static cJSON *properties_of(const cJSON *resource)
{
	return cJSON_GetObjectItemCaseSensitive(resource, "properties");
}

/* Absent, null and empty text are the same to us. */
static const char *text_of(const cJSON *item)
{
	const char *text = cJSON_GetStringValue(item);

	return text ? text : "";
}

static bool says(const cJSON *item, const char *text)
{
	return item && strcmp(text_of(item), text) == 0;
}

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "no memory for a change");
}

/* Puts a member in the place of the one of that name. Takes item, which may be NULL: no memory. */
static int put_member(cJSON *object, const char *key, cJSON *item, struct err *e)
{
	bool done;

	if (!item)
		return no_memory(e);
	done = member(object, key) ? cJSON_ReplaceItemInObjectCaseSensitive(object, key, item)
				   : cJSON_AddItemToObject(object, key, item);
	if (done)
		return 0;
	cJSON_Delete(item);
	return no_memory(e);
}

/* ---- tags ---- */

static int check_text(const char *text, const char *what, struct err *e)
{
	size_t len = strlen(text);

	if (len > ASSET_TEXT_MAX)
		return err_set(e, -EFBIG, "%s has more than %d bytes", what, ASSET_TEXT_MAX);
	if (!utf8_valid(text, len))
		return err_set(e, -EINVAL, "%s is not UTF-8", what);
	return 0;
}

static int check_tag(const struct tag_change *t, struct err *e)
{
	int rc = check_text(t->key, "the name of a tag", e);

	if (!rc && !*t->key)
		rc = err_set(e, -EINVAL, "a tag without a name");
	if (!rc && t->value)
		rc = check_text(t->value, "the value of a tag", e);
	return rc;
}

static int check_conditions(const cJSON *old, const struct tag_change *t, struct err *e)
{
	if (old && t->value && (t->flags & TAG_CREATE))
		return err_set(e, -EEXIST, "there is a tag %.200s already", t->key);
	if (!old && !t->value && (t->flags & TAG_IF_THERE))
		return 0;
	if (!old && (!t->value || (t->flags & TAG_REPLACE)))
		return err_set(e, -ENODATA, "there is no tag %.200s", t->key);
	return 0;
}

static int change_tag(cJSON *tags, const struct tag_change *t, bool first, struct err *e)
{
	const cJSON *old = member(tags, t->key);
	int rc = first ? check_conditions(old, t, e) : 0;

	if (rc || (t->value && says(old, t->value)))
		return rc;
	if (t->value)
		return put_member(tags, t->key, cJSON_CreateString(t->value), e);
	cJSON_DeleteItemFromObjectCaseSensitive(tags, t->key);
	return 0;
}

/* Of a tag that is the same the old item stays: it may be null, which shows as empty text. */
static int keep_tag(cJSON *fresh, cJSON *old, const struct tag_change *t, struct err *e)
{
	cJSON *item = NULL;

	if (says(member(old, t->key), t->value))
		item = cJSON_DetachItemFromObjectCaseSensitive(old, t->key);
	return put_member(fresh, t->key, item ? item : cJSON_CreateString(t->value), e);
}

static int replace_tags(cJSON *properties, const struct version_change *change, struct err *e)
{
	cJSON *old = cJSON_GetObjectItemCaseSensitive(properties, "tags");
	cJSON *fresh = cJSON_CreateObject();
	int rc = fresh ? 0 : no_memory(e);

	for (size_t i = 0; i < change->n_tags && !rc; i++)
		rc = keep_tag(fresh, old, &change->tags[i], e);
	if (!rc)
		return put_member(properties, "tags", fresh, e);
	cJSON_Delete(fresh);
	return rc;
}

static int change_tags(cJSON *properties, const struct version_change *change, bool first,
		       struct err *e)
{
	cJSON *tags = cJSON_GetObjectItemCaseSensitive(properties, "tags");
	int rc = 0;

	for (size_t i = 0; i < change->n_tags && !rc; i++)
		rc = change_tag(tags, &change->tags[i], first, e);
	return rc;
}

static int check_tags(const struct version_change *change, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < change->n_tags && !rc; i++) {
		rc = check_tag(&change->tags[i], e);
		if (!rc && change->replace_tags && !change->tags[i].value)
			rc = err_set(e, -EINVAL, "a tag without a value in a set of tags");
	}
	return rc;
}

static int edit_tags(cJSON *properties, const struct version_change *change, bool first,
		     struct err *e)
{
	int rc = check_tags(change, e);

	if (!rc && !cJSON_IsObject(member(properties, "tags")))
		rc = put_member(properties, "tags", cJSON_CreateObject(), e);
	if (!rc && change->replace_tags)
		rc = replace_tags(properties, change, e);
	else if (!rc)
		rc = change_tags(properties, change, first, e);
	if (!rc && cJSON_GetArraySize(member(properties, "tags")) > ASSET_KV_MAX)
		rc = err_set(e, -EFBIG, "more than %d tags", ASSET_KV_MAX);
	return rc;
}

/* ---- the rest ---- */

/* Empty text clears it; what the service does when it is absent is not documented. */
static int edit_description(cJSON *properties, const char *text, struct err *e)
{
	int rc = check_text(text, "the description", e);

	if (rc || strcmp(text_of(member(properties, "description")), text) == 0)
		return rc;
	return put_member(properties, "description", cJSON_CreateString(text), e);
}

static int edit_archived(cJSON *properties, bool archived, struct err *e)
{
	return put_member(properties, "isArchived", cJSON_CreateBool(archived), e);
}

int arm_edit(cJSON *resource, const struct version_change *change, bool first, bool *differs,
	     struct err *e)
{
	const char *description = change->description ? change->description : "";
	cJSON *p = properties_of(resource), *before;
	int rc = 0;

	*differs = false;
	if (!cJSON_IsObject(p))
		return err_set(e, -EBADMSG, "properties is missing");
	before = cJSON_Duplicate(resource, true);
	if (!before)
		return no_memory(e);
	if (change->n_tags || change->replace_tags)
		rc = edit_tags(p, change, first, e);
	if (!rc && change->set_description)
		rc = edit_description(p, description, e);
	if (!rc && change->archived >= 0)
		rc = edit_archived(p, change->archived, e);
	*differs = !rc && !arm_edit_agrees(before, resource);
	cJSON_Delete(before);
	return rc;
}

static bool same_tags(const cJSON *a, const cJSON *b)
{
	const cJSON *item;

	if (cJSON_GetArraySize(a) != cJSON_GetArraySize(b))
		return false;
	cJSON_ArrayForEach(item, a)
		if (!item->string || !says(member(b, item->string), text_of(item)))
			return false;
	return true;
}

bool arm_edit_agrees(const cJSON *a, const cJSON *b)
{
	const cJSON *p = properties_of(a), *q = properties_of(b);

	return cJSON_IsObject(p) && cJSON_IsObject(q) &&
	       same_tags(member(p, "tags"), member(q, "tags")) &&
	       strcmp(text_of(member(p, "description")), text_of(member(q, "description"))) == 0 &&
	       cJSON_IsTrue(member(p, "isArchived")) == cJSON_IsTrue(member(q, "isArchived"));
}

char *arm_edit_body(const cJSON *resource)
{
	static const char *const computed[] = {"environmentType", "provisioningState",
					       "imageDetails", "latestVersion", "nextVersion"};
	cJSON *body = cJSON_CreateObject();
	cJSON *p = cJSON_Duplicate(properties_of(resource), true);
	char *text = NULL;

	if (body && p && cJSON_AddItemToObject(body, "properties", p)) {
		for (size_t i = 0; i < sizeof(computed) / sizeof(*computed); i++)
			cJSON_DeleteItemFromObjectCaseSensitive(p, computed[i]);
		text = cJSON_PrintUnformatted(body);
	} else {
		cJSON_Delete(p);
	}
	cJSON_Delete(body);
	return text;
}
