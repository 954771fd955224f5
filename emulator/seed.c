#include "emulator/seed.h"

#include <errno.h>
#include <string.h>

#include "emulator/db.h"
#include "emulator/jsonio.h"
#include "emulator/scopes.h"
#include "emulator/verstore.h"

struct curated {
	const char *name;
	const char *version;
	const char *properties;
};

static const struct curated curated[] = {
	{"minimal-ubuntu22.04-py310", "1",
	 "{\"description\":\"Python 3.10 and nothing else, to build upon.\","
	 "\"tags\":{\"OS\":\"Ubuntu22.04\",\"Python\":\"3.10\"},"
	 "\"image\":\"mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04\","
	 "\"condaFile\":\"name: minimal\\nchannels:\\n- conda-forge\\ndependencies:\\n"
	 "- python=3.10\\n- pip\\n\"}"},
	{"minimal-ubuntu22.04-py310", "2",
	 "{\"description\":\"Python 3.10 with a pinned pip, to build upon.\","
	 "\"tags\":{\"OS\":\"Ubuntu22.04\",\"Python\":\"3.10\"},"
	 "\"image\":\"mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04\","
	 "\"condaFile\":\"name: minimal\\nchannels:\\n- conda-forge\\ndependencies:\\n"
	 "- python=3.10\\n- pip=24.0\\n\"}"},
	{"minimal-python3.11-image", "1",
	 "{\"description\":\"An image with Python 3.11, used as it is.\","
	 "\"tags\":{\"OS\":\"Debian12\",\"Python\":\"3.11\"},"
	 "\"image\":\"docker.io/library/python:3.11-slim-bookworm\"}"},
};

static struct text text(const char *s)
{
	return (struct text){s, strlen(s)};
}

static int ensure_scope(struct emu *emu, enum scope_kind kind, const char *name, bool writable,
			int64_t *id, bool *made, struct err *e)
{
	struct text subscription = text(EMU_SUBSCRIPTION), group = text(EMU_RESOURCE_GROUP);
	struct emu_scope s;
	int ret = scopes_find(emu, kind, subscription, group, text(name), &s, e);

	*made = ret == 0;
	if (ret == 0) {
		ret = scopes_create(emu, kind, subscription, group, text(name), "{}", "{}",
				    writable, e);
		if (!ret)
			ret = scopes_find(emu, kind, subscription, group, text(name), &s, e);
	}
	*id = s.id;
	scope_release(&s);
	return ret < 0 ? ret : 0;
}

static int put_curated(struct emu *emu, int64_t registry, const struct curated *c, struct err *e)
{
	struct verstore_put put = {.scope = registry,
				   .env = text(c->name),
				   .version = text(c->version),
				   .curated = true};
	_cleanup_json_ cJSON *json = NULL;
	enum verstore_result result;
	struct verprops props = {0};
	sqlite3 *conn;
	int ret = json_parse(c->properties, strlen(c->properties), &json, e);

	if (!ret)
		ret = verprops_read(json, &props, e);
	put.props = &props;
	conn = ret ? NULL : db_begin(emu->db, e);
	if (!ret)
		ret = conn ? verstore_put(emu, conn, &put, &result, e) : -EIO;
	if (conn && ret)
		db_rollback(emu->db);
	else if (conn)
		ret = db_commit(emu->db, e);
	verprops_release(&props);
	return ret;
}

int seed(struct emu *emu, struct err *e)
{
	int64_t id;
	bool made;
	int ret = ensure_scope(emu, SCOPE_WORKSPACE, EMU_WORKSPACE, true, &id, &made, e);

	if (!ret)
		ret = scopes_ensure_containers(emu, e);
	if (!ret)
		ret = ensure_scope(emu, SCOPE_REGISTRY, EMU_REGISTRY, false, &id, &made, e);
	/* Versions that are there are left alone, so each is put every time: a crash between two
	 * of them leaves nothing out. */
	for (size_t i = 0; i < sizeof(curated) / sizeof(curated[0]) && !ret; i++)
		ret = put_curated(emu, id, &curated[i], e);
	return ret;
}
