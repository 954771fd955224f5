/*
 * The side of keyring that talks to libsecret. Its few types that are needed are declared here as
 * its documentation has them: its headers are not needed to build, nor the library to run.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client/keyring.h"
#include "client/keyring_int.h"

enum { ATTRIBUTES_MAX = 32, ATTRIBUTE_STRING = 0 };

/* SecretSchema of libsecret 0.x (API 1). */
struct schema {
	const char *name;
	int flags;
	struct {
		const char *name;
		int type;
	} attributes[ATTRIBUTES_MAX];
	int reserved;
	void *reserved_pointers[7];
};

struct gerror {
	uint32_t domain;
	int code;
	char *message;
};

static const struct schema schema = {
	.name = "org.mlenvfs.RefreshToken",
	.attributes = {{"authority", ATTRIBUTE_STRING},
		       {"tenant", ATTRIBUTE_STRING},
		       {"client_id", ATTRIBUTE_STRING}},
};

struct library {
	int (*store)(const struct schema *, const char *collection, const char *label,
		     const char *password, void *cancellable, struct gerror **, ...);
	char *(*lookup)(const struct schema *, void *cancellable, struct gerror **, ...);
	int (*clear)(const struct schema *, void *cancellable, struct gerror **, ...);
};

static _Noreturn void end(int status, const char *words)
{
	if (words)
		fprintf(stderr, "%s\n", words);
	fflush(NULL);
	/* Not exit(): what GLib keeps until the end is not ours to free. */
	_exit(status);
}

/* ISO C has no conversion from an object's to a function's address; POSIX's dlsym() needs one. */
static void find(void *library, const char *name, void *to)
{
	void *at = dlsym(library, name);

	if (!at)
		end(KEYRING_EXIT_UNAVAILABLE, "libsecret is not what it should be");
	memcpy(to, &at, sizeof(at));
}

static void load(struct library *l)
{
	void *library = dlopen("libsecret-1.so.0", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		end(KEYRING_EXIT_UNAVAILABLE, "libsecret is not installed");
	find(library, "secret_password_store_sync", &l->store);
	find(library, "secret_password_lookup_sync", &l->lookup);
	find(library, "secret_password_clear_sync", &l->clear);
}

static _Noreturn void fail(const struct gerror *why)
{
	end(KEYRING_EXIT_UNAVAILABLE, why && why->message ? why->message : "it does not answer");
}

static void get(const struct library *l, char **key)
{
	struct gerror *why = NULL;
	char *secret = l->lookup(&schema, NULL, &why, "authority", key[0], "tenant", key[1],
				 "client_id", key[2], NULL);

	if (why)
		fail(why);
	if (secret)
		fputs(secret, stdout);
	end(secret ? 0 : KEYRING_EXIT_NONE, NULL);
}

static void set(const struct library *l, char **key)
{
	char *secret = calloc(1, KEYRING_SECRET_MAX + 1);
	struct gerror *why = NULL;
	size_t n = secret ? fread(secret, 1, KEYRING_SECRET_MAX, stdin) : 0;

	if (!n)
		end(KEYRING_EXIT_UNAVAILABLE, "there is nothing to keep");
	if (!l->store(&schema, "default", "mlenvfs: sign-in to Azure", secret, NULL, &why,
		      "authority", key[0], "tenant", key[1], "client_id", key[2], NULL))
		fail(why);
	end(0, NULL);
}

static void clear(const struct library *l, char **key)
{
	struct gerror *why = NULL;
	int found = l->clear(&schema, NULL, &why, "authority", key[0], "tenant", key[1],
			     "client_id", key[2], NULL);

	if (why)
		fail(why);
	end(found ? 0 : KEYRING_EXIT_NONE, NULL);
}

_Noreturn void keyring_main(int argc, char **argv)
{
	struct library l;

	if (argc != 5 || prctl(PR_SET_DUMPABLE, 0) < 0)
		end(KEYRING_EXIT_UNAVAILABLE, "this is a part of mlenvfs, not a command");
	load(&l);
	if (strcmp(argv[1], "get") == 0)
		get(&l, argv + 2);
	else if (strcmp(argv[1], "set") == 0)
		set(&l, argv + 2);
	else if (strcmp(argv[1], "clear") == 0)
		clear(&l, argv + 2);
	end(KEYRING_EXIT_UNAVAILABLE, "this is a part of mlenvfs, not a command");
}
