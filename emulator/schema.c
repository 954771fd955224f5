#include "emulator/db.h"

/*
 * scopes are workspaces (kind 0) and registries (kind 1). Times are nanoseconds since the epoch.
 *
 * body is the text of the resource's properties as it is sent, without what is computed for every
 * answer: isArchived, provisioningState, and the build of a context that lies in this service
 * (context is its path, so that the address in contextUri is the one the client knows us by).
 * A raw version's body is sent exactly as it is: tests keep hostile data in those.
 *
 * changed, old_body and old_archived let lists lag: until `changed` has passed out of the lag, a
 * list shows the old ones, or nothing where they are NULL.
 */
static const char schema_1[] =
	"CREATE TABLE scopes ("
	"  id INTEGER PRIMARY KEY,"
	"  kind INTEGER NOT NULL,"
	"  subscription TEXT NOT NULL COLLATE NOCASE,"
	"  resource_group TEXT NOT NULL COLLATE NOCASE,"
	"  name TEXT NOT NULL COLLATE NOCASE,"
	"  guid TEXT NOT NULL UNIQUE,"
	"  location TEXT NOT NULL,"
	"  writable INTEGER NOT NULL,"
	"  body TEXT NOT NULL,"
	"  tags TEXT NOT NULL,"
	"  created INTEGER NOT NULL,"
	"  created_by TEXT NOT NULL,"
	"  UNIQUE (kind, subscription, resource_group, name));"
	"CREATE UNIQUE INDEX registry_names ON scopes (name) WHERE kind = 1;"
	"CREATE TABLE environments ("
	"  id INTEGER PRIMARY KEY,"
	"  scope INTEGER NOT NULL REFERENCES scopes (id) ON DELETE CASCADE,"
	"  name TEXT NOT NULL,"
	"  archived INTEGER NOT NULL DEFAULT 0,"
	"  curated INTEGER NOT NULL DEFAULT 0,"
	"  body TEXT NOT NULL,"
	"  old_body TEXT,"
	"  old_archived INTEGER,"
	"  created INTEGER NOT NULL,"
	"  changed INTEGER NOT NULL,"
	"  created_by TEXT NOT NULL,"
	"  UNIQUE (scope, name));"
	"CREATE TABLE versions ("
	"  id INTEGER PRIMARY KEY,"
	"  environment INTEGER NOT NULL REFERENCES environments (id) ON DELETE CASCADE,"
	"  name TEXT NOT NULL,"
	"  number INTEGER,"
	"  archived INTEGER NOT NULL DEFAULT 0,"
	"  curated INTEGER NOT NULL DEFAULT 0,"
	"  raw INTEGER NOT NULL DEFAULT 0,"
	"  body TEXT NOT NULL,"
	"  context TEXT,"
	"  dockerfile TEXT,"
	"  old_body TEXT,"
	"  old_archived INTEGER,"
	"  created INTEGER NOT NULL,"
	"  changed INTEGER NOT NULL,"
	"  created_by TEXT NOT NULL,"
	"  polls INTEGER NOT NULL DEFAULT 0,"
	"  UNIQUE (environment, name));"
	"CREATE INDEX versions_by_time ON versions (environment, created);"
	"CREATE INDEX versions_latest ON versions (environment, archived, created DESC);"
	"CREATE INDEX versions_by_number ON versions (environment, number);"
	"CREATE TABLE operations ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT NOT NULL UNIQUE,"
	"  version INTEGER NOT NULL REFERENCES versions (id) ON DELETE CASCADE,"
	"  created INTEGER NOT NULL);";

/*
 * Builds of images, see build_store.h. log is the name of the build whose log is shown. A build
 * outlives its version: its log is still there.
 */
static const char schema_2[] = "CREATE TABLE builds ("
			       "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
			       "  name TEXT NOT NULL UNIQUE,"
			       "  log TEXT NOT NULL,"
			       "  version INTEGER REFERENCES versions (id) ON DELETE SET NULL,"
			       "  state INTEGER NOT NULL,"
			       "  image TEXT NOT NULL DEFAULT '',"
			       "  dockerfile TEXT,"
			       "  created INTEGER NOT NULL,"
			       "  started INTEGER NOT NULL DEFAULT 0,"
			       "  ended INTEGER NOT NULL DEFAULT 0);"
			       "CREATE INDEX builds_by_version ON builds (version, id);"
			       "CREATE INDEX builds_by_state ON builds (state, id);"
			       "CREATE INDEX builds_by_image ON builds (image, id);";

const char *const db_migrations[] = {schema_1, schema_2};
const int db_schema_version = sizeof(db_migrations) / sizeof(db_migrations[0]);
