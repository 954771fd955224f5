#include "client/keyring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/child.h"
#include "client/clock.h"
#include "client/keyring_int.h"
#include "client/redact.h"

enum { ARGS_MAX = 7, COMPLAINT_MAX = 4096, WORDS_MAX = 200 };

bool keyring_is_likely(void)
{
	const char *bus = getenv("DBUS_SESSION_BUS_ADDRESS"), *run = getenv("XDG_RUNTIME_DIR");
	char path[4096];

	if (bus && *bus)
		return true;
	return run && *run && (size_t)snprintf(path, sizeof(path), "%s/bus", run) < sizeof(path) &&
	       access(path, F_OK) == 0;
}

static int status_errno(int status)
{
	if (!WIFEXITED(status))
		return -EOPNOTSUPP;
	switch (WEXITSTATUS(status)) {
	case 0:
		return 0;
	case KEYRING_EXIT_NONE:
		return -ENOENT;
	default:
		return -EOPNOTSUPP;
	}
}

static int fail(int rc, struct buf *said, struct err *e)
{
	char words[WORDS_MAX] = "";

	if (rc == -ENOENT)
		return err_set(e, rc, "the keyring has no such secret");
	if (said->len) {
		said->data[strcspn(said->data, "\r\n")] = '\0';
		redact_words(said->data, words, sizeof(words));
	}
	return err_set(e, rc, "the desktop's keyring: %s", *words ? words : "its helper failed");
}

static int run(const char *what, const struct keyring_key *key, const char *secret,
	       struct call *call, struct buf *out, struct err *e)
{
	const char *argv[ARGS_MAX] = {"/proc/self/exe", KEYRING_COMMAND, what, key->authority,
				      key->tenant,      key->client_id,  NULL};
	_cleanup_buf_ struct buf said = BUF_INIT(COMPLAINT_MAX);
	struct child_spec spec = {.argv = argv,
				  .input = secret,
				  .input_len = secret ? strlen(secret) : 0,
				  .out = out,
				  .err = &said};
	int64_t deadline = call_lower(call, clock_mono() + KEYRING_TIMEOUT_S * NS_PER_S);
	int status = 0, rc;

	rc = child_run(&spec, call, &status, e);
	call->deadline = deadline;
	if (rc)
		return err_prefix(e, rc, "the desktop's keyring: ");
	rc = status_errno(status);
	return rc ? fail(rc, &said, e) : 0;
}

int keyring_get(const struct keyring_key *key, struct call *call, struct buf *out, struct err *e)
{
	return run("get", key, NULL, call, out, e);
}

int keyring_set(const struct keyring_key *key, const char *secret, struct call *call, struct err *e)
{
	_cleanup_buf_ struct buf out = BUF_INIT(COMPLAINT_MAX);

	return run("set", key, secret, call, &out, e);
}

int keyring_clear(const struct keyring_key *key, struct call *call, struct err *e)
{
	_cleanup_buf_ struct buf out = BUF_INIT(COMPLAINT_MAX);

	return run("clear", key, NULL, call, &out, e);
}
