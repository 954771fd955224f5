/*
 * Everything that a source can be asked, with everything that can go wrong on the way: the right
 * errno, in bounded time, nothing sent twice that must not be, and the same source works
 * afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/clock.h"
#include "tests/unit/armfixture.h"

#define NAME "service.test" /* no name server knows it, but see below */

enum {
	SHORT_MS = 60, /* for what never ends by itself */
	BOUND_S = 30,  /* a guard against hanging, no measure of speed */
};

/* ---- name resolution that can fail ---- */

static atomic_bool no_names;

typedef int getaddrinfo_fn(const char *node, const char *service, const struct addrinfo *hints,
			   struct addrinfo **res);

/* libcurl finds this one first. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		struct addrinfo **res)
{
	getaddrinfo_fn *real = (getaddrinfo_fn *)(intptr_t)dlsym(RTLD_NEXT, "getaddrinfo");

	if (node && strcmp(node, NAME) == 0) {
		if (atomic_load(&no_names))
			return EAI_AGAIN;
		node = "127.0.0.1";
	}
	return real ? real(node, service, hints, res) : EAI_FAIL;
}

/* ---- what can be asked ---- */

struct asked {
	struct arm_fixture *f;
	struct context *context;
	struct version *version; /* with that context */
};

typedef int ask_fn(const struct asked *a);

#define OPS(a) ((a)->f->source->ops)
#define END    &(a)->f->call
#define ERR    &(a)->f->err

static int ask_scopes(const struct asked *a)
{
	struct scope_list *l = NULL;
	int rc = OPS(a)->list_scopes(a->f->source, END, &l, ERR);

	scope_list_unref(l);
	return rc;
}

static int ask_envs(const struct asked *a)
{
	struct env_list *l = NULL;
	int rc = OPS(a)->list_envs(a->f->source, a->f->workspace, END, &l, ERR);

	env_list_unref(l);
	return rc;
}

static int ask_versions(const struct asked *a)
{
	struct version_list *l = NULL;
	int rc = OPS(a)->list_versions(a->f->source, a->f->workspace, "e1", END, &l, ERR);

	version_list_unref(l);
	return rc;
}

static int ask_version(const struct asked *a)
{
	struct version *v = NULL;
	int rc = OPS(a)->get_version(a->f->source, a->f->workspace, "e1", "1", END, &v, ERR);

	version_unref(v);
	return rc;
}

static int ask_context(const struct asked *a)
{
	struct context *ctx = NULL;
	int rc = OPS(a)->list_context(a->f->source, a->f->workspace, a->version, END, &ctx, ERR);

	context_unref(ctx);
	return rc;
}

static int ask_read(const struct asked *a)
{
	struct buf out = BUF_INIT(100);
	int rc = OPS(a)->read_context(a->f->source, a->f->workspace, a->context,
				      &a->context->files[0], 0, 6, END, &out, ERR);

	buf_free(&out);
	return rc;
}

static int ask_upload(const struct asked *a)
{
	int fd = memfd_create("upload", MFD_CLOEXEC), rc;
	struct upload_file file = {.path = "a", .fd = fd, .size = 6};
	char *uri = NULL;

	assert_int_equal(write(fd, "hello\n", 6), 6);
	rc = OPS(a)->upload_context(a->f->source, a->f->workspace, "e1", "2", &file, 1, END, &uri,
				    ERR);
	free(uri);
	close(fd);
	return rc;
}

static int put_into(const struct asked *a, struct scope *scope)
{
	struct version fields = {.env = "e1", .version = "2", .image = "i"};
	struct version *v = version_new(&fields), *out = NULL;
	int rc;

	assert_non_null(v);
	rc = OPS(a)->put_version(a->f->source, scope, v, END, &out, ERR);
	version_unref(out);
	version_unref(v);
	return rc;
}

static int ask_put(const struct asked *a)
{
	return put_into(a, a->f->workspace);
}

static int ask_put_registry(const struct asked *a)
{
	return put_into(a, a->f->registry);
}

static int ask_update(const struct asked *a)
{
	const struct tag_change tag = {.key = "k", .value = "v"};
	const struct version_change change = {.tags = &tag, .n_tags = 1, .archived = -1};
	struct version *v = NULL;
	int rc = OPS(a)->update_version(a->f->source, a->f->workspace, "e1", "1", &change, END, &v,
					ERR);

	version_unref(v);
	return rc;
}

static int ask_archive(const struct asked *a)
{
	struct env *env = NULL;
	int rc = OPS(a)->update_env(a->f->source, a->f->workspace, "e1", true, END, &env, ERR);

	env_unref(env);
	return rc;
}

static int ask_delete(const struct asked *a)
{
	return OPS(a)->delete_version(a->f->source, a->f->workspace, "e1", "1", END, ERR);
}

static int ask_delete_env(const struct asked *a)
{
	return OPS(a)->delete_env(a->f->source, a->f->workspace, "e1", END, ERR);
}

static int ask_make_workspace(const struct asked *a)
{
	struct scope *scope = NULL;
	int rc = OPS(a)->create_workspace(a->f->source, "new-ws", END, &scope, ERR);

	scope_unref(scope);
	return rc;
}

static const struct {
	const char *name;
	ask_fn *ask;
	bool storage; /* it needs Blob Storage, too */
} kinds[] = {
	{"list workspaces", ask_scopes, false},
	{"list environments", ask_envs, false},
	{"list versions", ask_versions, false},
	{"get a version", ask_version, false},
	{"list a context", ask_context, true},
	{"read a context", ask_read, true},
	{"upload a context", ask_upload, true},
	{"register", ask_put, false},
	{"register in a registry", ask_put_registry, false},
	{"change a tag", ask_update, false},
	{"archive", ask_archive, false},
	{"delete", ask_delete, false},
	{"delete an environment", ask_delete_env, false},
	{"make a workspace", ask_make_workspace, false},
};

enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

/* ---- a service that works ---- */

#define VERSION_BODY                                                                    \
	"{\"id\":\"" WS "/environments/e1/versions/1\",\"name\":\"1\",\"properties\":{" \
	"\"image\":\"i\",\"tags\":{\"k\":\"%s\"},\"isArchived\":%s}}"
#define ENV_BODY \
	"{\"id\":\"" WS "/environments/e1\",\"name\":\"e1\",\"properties\":{\"isArchived\":%s}}"
#define STORES                                                                         \
	"{\"value\":[{\"name\":\"s\",\"properties\":{\"datastoreType\":\"AzureBlob\"," \
	"\"accountName\":\"acct\",\"containerName\":\"c1\",\"endpoint\":\"%s\","       \
	"\"protocol\":\"http\",\"isDefault\":true,\"credentials\":"                    \
	"{\"credentialsType\":\"AccountKey\"}}}]}"
#define BLOBS                                                                \
	"<EnumerationResults><Blobs><Blob><Name>LocalUpload/h/ctx/a</Name>"  \
	"<Properties><Content-Length>6</Content-Length></Properties></Blob>" \
	"</Blobs><NextMarker/></EnumerationResults>"

/* storage: where Blob Storage is ("http://host:port"). */
static void works(struct arm_fixture *f, const char *storage)
{
	static char stores[512], old[512], new[512], old_env[512], new_env[512];
	struct stub_rule part = {.match = "GET /acct/c1/LocalUpload/h/ctx/a",
				 .status = 206,
				 .headers = "Content-Range: bytes 0-5/6\r\n",
				 .body = "hello\n"};

	snprintf(stores, sizeof(stores), STORES, storage);
	snprintf(old, sizeof(old), VERSION_BODY, "old", "false");
	snprintf(new, sizeof(new), VERSION_BODY, "v", "false");
	snprintf(old_env, sizeof(old_env), ENV_BODY, "false");
	snprintf(new_env, sizeof(new_env), ENV_BODY, "true");
	stub_json(f->stub, "GET " SUB PRV "/workspaces?", 200, "{\"value\":[]}");
	stub_json(f->stub, "GET " WS "/environments?", 200, "{\"value\":[]}");
	stub_json(f->stub, "GET " WS "/environments/e1/versions?", 200, "{\"value\":[]}");
	stub_json(f->stub, "GET " WS "/environments/e1/versions/", 200, old);
	stub_json(f->stub, "GET " WS "/environments/e1?", 200, old_env);
	stub_json(f->stub, "PUT " WS "/environments/e1/versions/", 201, new);
	stub_json(f->stub, "PUT " REG "/environments/e1/versions/", 201, new);
	stub_json(f->stub, "PUT " WS "/environments/e1?", 200, new_env);
	stub_json(f->stub, "PUT " SUB "/resourceGroups/g1" PRV "/workspaces/new-ws?", 200,
		  "{\"id\":\"" GRP PRV "/workspaces/new-ws\",\"name\":\"new-ws\"}");
	stub_json(f->stub, "DELETE ", 200, "");
	stub_json(f->stub, "GET " WS "/datastores?", 200, stores);
	stub_json(f->stub, "POST " WS "/datastores/s/listSecrets?", 200,
		  "{\"secretsType\":\"AccountKey\",\"key\":\"a2V5\"}");
	stub_json(f->stub, "GET /acct/c1?restype=container", 200, BLOBS);
	stub_json(f->stub, "HEAD /acct/c1/", 404, NULL);
	stub_json(f->stub, "PUT /acct/c1/", 201, "");
	stub_add(f->stub, &part);
}

static void begin(struct arm_fixture *f, struct asked *a, const char *storage)
{
	struct arm_conf conf = {.subscription = "s1", .create_group = "g1"};
	char uri[256];
	struct version fields = {.env = "e1", .version = "1", .context_uri = uri};
	struct context_file file = {.path = "a", .path_len = 1, .size = 6};
	struct context context = {.uri = uri, .files = &file, .n_files = 1};

	arm_fixture_remake(f, &conf);
	arm_fixture_deadline(f, 20 * NS_PER_S);
	snprintf(uri, sizeof(uri), "%s/acct/c1/LocalUpload/h/ctx/", storage);
	*a = (struct asked){
		.f = f, .version = version_new(&fields), .context = context_new(&context)};
	assert_non_null(a->version);
	assert_non_null(a->context);
}

static void end(struct asked *a)
{
	version_unref(a->version);
	context_unref(a->context);
}

static void check_it_works(const struct asked *a, size_t kind, const char *fault)
{
	int rc;

	arm_fixture_deadline(a->f, 20 * NS_PER_S);
	rc = kinds[kind].ask(a);
	if (rc)
		fail_msg("%s after %s: %d %s", kinds[kind].name, fault, rc, a->f->err.msg);
}

/* ---- faults of the connection ---- */

static const struct {
	const char *name;
	struct stub_rule rule;
	int codes[2];
	bool endless;
} faults[] = {
	{"closed without an answer", {.match = "", .wrong = STUB_CLOSE}, {-EIO}, false},
	{"a reset", {.match = "", .wrong = STUB_RESET}, {-EIO}, false},
	{"a body cut off",
	 {.match = "", .wrong = STUB_TRUNCATE, .body = "{\"value\":[]}        "},
	 {-EIO, -EBADMSG},
	 false},
	{"a length that is too long",
	 {.match = "",
	  .wrong = STUB_RAW,
	  .body = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"value\":[]}"},
	 {-EIO, -EFBIG},
	 false},
	{"not HTTP",
	 {.match = "", .wrong = STUB_RAW, .body = "\x16\x03\x01 what?\r\n\r\n"},
	 {-EBADMSG, -EIO},
	 false},
	{"no answer", {.match = "", .wrong = STUB_HANG}, {-ETIMEDOUT}, true},
	{"an answer that stops",
	 {.match = "", .wrong = STUB_STALL, .body = "{\"value\":[]}        "},
	 {-ETIMEDOUT, -EBADMSG},
	 true},
};

static bool is_right(int rc, const int codes[2])
{
	return rc && (rc == codes[0] || rc == codes[1]);
}

static void try_kind(struct arm_fixture *f, size_t kind, size_t fault)
{
	int64_t started;
	struct asked a;
	int rc;

	begin(f, &a, stub_base(f->stub));
	stub_clear(f->stub);
	stub_add(f->stub, &faults[fault].rule);
	if (faults[fault].endless)
		arm_fixture_deadline(f, SHORT_MS * NS_PER_MS);
	started = clock_mono();
	rc = kinds[kind].ask(&a);
	if (!is_right(rc, faults[fault].codes))
		fail_msg("%s with %s: %d %s", kinds[kind].name, faults[fault].name, rc, f->err.msg);
	assert_true(clock_mono() - started < BOUND_S * NS_PER_S);
	assert_non_null(strstr(f->err.msg, "x-ms-client-request-id"));
	stub_clear(f->stub);
	works(f, stub_base(f->stub));
	check_it_works(&a, kind, faults[fault].name);
	end(&a);
}

static void test_connections(void **state)
{
	struct arm_fixture *f = *state;

	for (size_t fault = 0; fault < sizeof(faults) / sizeof(*faults); fault++)
		for (size_t kind = 0; kind < KINDS; kind++)
			try_kind(f, kind, fault);
}

/* ---- faults before there is a connection ---- */

/* A source of its own, whose service is at endpoint. */
static struct source *source_at(struct arm_fixture *f, const char *endpoint)
{
	struct arm_conf conf = {.subscription = "s1",
				.create_group = "g1",
				.endpoint = endpoint,
				.credential = f->credential,
				.backoff = 5 * NS_PER_MS};
	struct source *s = NULL;

	assert_int_equal(arm_source_new(&conf, &s, &f->err), 0);
	return s;
}

/* No operation can reach the endpoint: all say so, in time. */
static void check_unreachable(struct arm_fixture *f, const char *endpoint, const char *fault)
{
	struct source *own = f->source;
	struct asked a;

	begin(f, &a, "https://acct.blob.core.windows.net");
	own = f->source;
	f->source = source_at(f, endpoint);
	for (size_t kind = 0; kind < KINDS; kind++) {
		int64_t started = clock_mono();
		int rc;

		/* The registry is the stub's, which answers nothing useful. */
		if (kinds[kind].ask == ask_put_registry)
			continue;
		arm_fixture_deadline(f, 20 * NS_PER_S);
		rc = kinds[kind].ask(&a);
		if (rc != -EHOSTUNREACH)
			fail_msg("%s with %s: %d %s", kinds[kind].name, fault, rc, f->err.msg);
		assert_true(clock_mono() - started < BOUND_S * NS_PER_S);
	}
	source_free(f->source);
	f->source = own;
	end(&a);
}

/* Answers everything with what is no TLS. */
static void *refuse_tls(void *arg)
{
	static const char plain[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
	int listener = (int)(intptr_t)arg, fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		char hello[1024];

		if (recv(fd, hello, sizeof(hello), 0) > 0)
			(void)!send(fd, plain, sizeof(plain) - 1, MSG_NOSIGNAL);
		close(fd);
	}
	return NULL;
}

static void test_no_tls(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(at);
	char endpoint[64];
	pthread_t thread;

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 16), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(pthread_create(&thread, NULL, refuse_tls, (void *)(intptr_t)listener), 0);
	snprintf(endpoint, sizeof(endpoint), "https://127.0.0.1:%u", ntohs(at.sin_port));
	check_unreachable(*state, endpoint, "no TLS");
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listener);
}

static void test_refused(void **state)
{
	struct stub *gone = stub_start(NULL);
	char endpoint[128];

	snprintf(endpoint, sizeof(endpoint), "%s", stub_base(gone));
	stub_stop(gone);
	check_unreachable(*state, endpoint, "a refused connection");
}

static void test_no_names(void **state)
{
	atomic_store(&no_names, true);
	check_unreachable(*state, "https://" NAME, "no name resolution");
	atomic_store(&no_names, false);
}

/* Storage has a name of its own; once that is known again, the same source goes on. */
static void test_no_names_of_storage(void **state)
{
	struct arm_fixture *f = *state;
	char storage[128];

	snprintf(storage, sizeof(storage), "http://" NAME "%s", strrchr(stub_base(f->stub), ':'));
	for (size_t kind = 0; kind < KINDS; kind++) {
		struct asked a;

		if (!kinds[kind].storage)
			continue;
		begin(f, &a, storage);
		stub_clear(f->stub);
		works(f, storage);
		atomic_store(&no_names, true);
		assert_int_equal(kinds[kind].ask(&a), -EHOSTUNREACH);
		atomic_store(&no_names, false);
		check_it_works(&a, kind, "no name resolution");
		end(&a);
	}
}

#define WITH_SOURCE(t) cmocka_unit_test_setup_teardown(t, arm_fixture_setup, arm_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SOURCE(test_connections),
		WITH_SOURCE(test_no_tls),
		WITH_SOURCE(test_refused),
		WITH_SOURCE(test_no_names),
		WITH_SOURCE(test_no_names_of_storage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
