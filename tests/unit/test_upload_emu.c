/*
 * Build contexts from the client into the embedded service and back: what is sent when a new
 * version's context differs from a published one in a few files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/arm.h"
#include "client/blob.h"
#include "client/buf.h"
#include "client/clock.h"
#include "client/log.h"
#include "tests/unit/emuclient.h"

enum { FILES = 20, DEADLINE_S = 20, TEXT_MAX = 64, AT_ONCE = 6 };

struct fixture {
	struct emuclient emu;
	struct credential *credential;
	struct source *source;
	struct scope *scope;
	struct call call;
	struct err err;
	char paths[FILES][TEXT_MAX];
	char texts[FILES][TEXT_MAX];
	struct upload_file files[FILES];
};

static void set_file(struct fixture *f, size_t i, const char *text)
{
	int fd = memfd_create("upload", MFD_CLOEXEC);
	size_t len = strlen(text);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	if (f->files[i].path)
		close(f->files[i].fd);
	snprintf(f->texts[i], TEXT_MAX, "%s", text);
	f->files[i] = (struct upload_file){.path = f->paths[i], .fd = fd, .size = len};
}

static void open_with(struct fixture *f, enum emu_storage_auth auth)
{
	const struct emu_conf emu = {.storage_auth = auth};
	struct arm_conf conf = {.endpoint = "http://localhost",
				.subscription = EMU_SUBSCRIPTION,
				.resource_group = EMU_RESOURCE_GROUP,
				.workspace = EMU_WORKSPACE};
	struct scope scope = {.name = EMU_WORKSPACE,
			      .subscription = EMU_SUBSCRIPTION,
			      .resource_group = EMU_RESOURCE_GROUP,
			      .writable = true};

	log_set_level(LOG_LEVEL_ERROR);
	emuclient_start(&f->emu, &emu);
	assert_int_equal(credential_none_new(&f->credential, NULL), 0);
	conf.unix_socket = f->emu.socket;
	conf.credential = f->credential;
	assert_int_equal(arm_source_new(&conf, &f->source, NULL), 0);
	f->scope = scope_new(&scope);
	assert_non_null(f->scope);
	call_init(&f->call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	for (size_t i = 0; i < FILES; i++) {
		char text[TEXT_MAX];

		snprintf(f->paths[i], TEXT_MAX, i % 2 ? "sub dir/%zu+ü" : "%zu#.txt", i);
		snprintf(text, sizeof(text), "the text of file %zu\n", i);
		set_file(f, i, text);
	}
}

static int setup_key(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	open_with(*state, EMU_STORAGE_KEY);
	return 0;
}

static int setup_sas(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	open_with(*state, EMU_STORAGE_SAS);
	return 0;
}

static int setup_none(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	open_with(*state, EMU_STORAGE_NONE);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < FILES; i++)
		close(f->files[i].fd);
	source_free(f->source);
	credential_free(f->credential);
	scope_unref(f->scope);
	call_destroy(&f->call);
	emuclient_end(&f->emu);
	free(f);
	return 0;
}

/* ---- requests ---- */

static void forget_requests(struct fixture *f)
{
	emu_ask_status(&f->emu, "DELETE", "/__mlenvfs/counters", NULL, 204);
}

static int counter(struct fixture *f, const char *path)
{
	cJSON *json = emu_ask_json(&f->emu, "GET", "/__mlenvfs/counters", NULL, 200);
	const cJSON *number = json_at(json, path);
	int n = number ? number->valueint : 0;

	cJSON_Delete(json);
	return n;
}

static void assert_requests(struct fixture *f, int puts, int copies)
{
	assert_int_equal(counter(f, "routes.PUT blob"), puts);
	assert_int_equal(counter(f, "routes.PUT blob copy"), copies);
}

static void set_faults(struct fixture *f, const char *plan)
{
	emu_ask_status(&f->emu, "PUT", "/__mlenvfs/faults", plan, 204);
}

/* ---- contexts ---- */

static int upload(struct fixture *f, char **uri)
{
	*uri = NULL;
	return f->source->ops->upload_context(f->source, f->scope, "e", "1", f->files, FILES,
					      &f->call, uri, &f->err);
}

static struct context *context_at(struct fixture *f, const char *uri)
{
	struct version fields = {.env = "e", .version = "1", .context_uri = uri};
	struct version *v = version_new(&fields);
	struct context *ctx = NULL;

	assert_non_null(v);
	if (f->source->ops->list_context(f->source, f->scope, v, &f->call, &ctx, &f->err))
		fail_msg("%s", f->err.msg);
	version_unref(v);
	return ctx;
}

static const struct context_file *file_of(const struct context *ctx, const char *path)
{
	for (size_t i = 0; i < ctx->n_files; i++)
		if (strcmp(ctx->files[i].path, path) == 0)
			return &ctx->files[i];
	fail_msg("no file %s", path);
	return NULL;
}

/* The context holds exactly the files, with their texts. */
static void assert_content(struct fixture *f, const char *uri)
{
	struct context *ctx = context_at(f, uri);
	struct buf out = BUF_INIT(1024);

	assert_int_equal(ctx->n_files, FILES);
	for (size_t i = 0; i < FILES; i++) {
		const struct context_file *file = file_of(ctx, f->paths[i]);

		buf_reset(&out);
		if (f->source->ops->read_context(f->source, f->scope, ctx, file, 0, TEXT_MAX,
						 &f->call, &out, &f->err))
			fail_msg("%s", f->err.msg);
		assert_string_equal(buf_str(&out), f->texts[i]);
		assert_non_null(file->md5);
	}
	buf_free(&out);
	context_unref(ctx);
}

/* All files name the published context, also those that have changed since. */
static void name_source(struct fixture *f, const struct context *ctx)
{
	for (size_t i = 0; i < FILES; i++) {
		f->files[i].from = ctx;
		f->files[i].from_file = file_of(ctx, f->paths[i]);
	}
}

/* The path of a blob of the context with that uri. */
static void blob_path(const char *uri, const char *name, char out[512])
{
	snprintf(out, 512, "%s%s", strstr(uri, "/" EMU_ACCOUNT), name);
}

/* ---- tests ---- */

static void test_one_changed(void **state)
{
	struct fixture *f = *state;
	char *first, *second, *third;
	struct context *ctx;

	assert_int_equal(upload(f, &first), 0);
	assert_requests(f, FILES, 0);
	assert_content(f, first);
	ctx = context_at(f, first);
	set_file(f, 4, "changed\n");
	name_source(f, ctx);
	forget_requests(f);
	assert_int_equal(upload(f, &second), 0);
	/* One sent, the others copied; HEAD of the first and its metadata. */
	assert_requests(f, 1, FILES - 1);
	assert_int_equal(counter(f, "routes.HEAD blob"), 1);
	assert_int_equal(counter(f, "total"), FILES + 2);
	assert_string_not_equal(first, second);
	assert_content(f, second);
	/* The same again costs a HEAD of it and of its older place. */
	forget_requests(f);
	assert_int_equal(upload(f, &third), 0);
	assert_string_equal(second, third);
	assert_int_equal(counter(f, "total"), 2);
	assert_int_equal(counter(f, "routes.HEAD blob"), 2);
	free(first);
	free(second);
	free(third);
	context_unref(ctx);
}

/* The indicator is a copy of one that says "completed", which must not count for the new context.
 */
static void test_broken_off(void **state)
{
	struct fixture *f = *state;
	char *first, *second;
	struct context *ctx;

	assert_int_equal(upload(f, &first), 0);
	ctx = context_at(f, first);
	set_file(f, 4, "changed\n");
	name_source(f, ctx);
	set_faults(f, "{\"rules\":[{\"method\":\"PUT\",\"path\":\"*/4%23.txt\",\"status\":400}]}");
	assert_int_equal(upload(f, &second), -EINVAL);
	assert_null(second);
	set_faults(f, "{\"rules\":[]}");
	forget_requests(f);
	assert_int_equal(upload(f, &second), 0);
	assert_true(counter(f, "routes.PUT blob") >= 1);
	assert_content(f, second);
	free(first);
	free(second);
	context_unref(ctx);
}

/* A source that is gone, or is another one than it was, is no reason to fail. */
static void test_source_is_gone(void **state)
{
	struct fixture *f = *state;
	char *first, *second, path[512];
	struct context *ctx;

	assert_int_equal(upload(f, &first), 0);
	ctx = context_at(f, first);
	set_file(f, 4, "changed\n");
	name_source(f, ctx);
	blob_path(first, "0%23.txt", path);
	emu_ask_status(&f->emu, "DELETE", path, NULL, 202);
	forget_requests(f);
	assert_int_equal(upload(f, &second), 0);
	assert_requests(f, 2, FILES - 1);
	assert_content(f, second);
	free(first);
	free(second);
	context_unref(ctx);
}

/* While answers take their time, more than one file is under way. */
static void test_at_once(void **state)
{
	struct fixture *f = *state;
	char *uri;

	set_faults(f, "{\"rules\":[{\"method\":\"PUT\",\"path\":\"*LocalUpload*\","
		      "\"delay_ms\":100}]}");
	assert_int_equal(upload(f, &uri), 0);
	assert_in_range(counter(f, "at_once"), 2, AT_ONCE);
	assert_content(f, uri);
	free(uri);
}

/* Lost answers: the copy was made, and is made over. */
static void test_lost_answers(void **state)
{
	struct fixture *f = *state;
	char *first, *second;
	struct context *ctx;

	assert_int_equal(upload(f, &first), 0);
	ctx = context_at(f, first);
	set_file(f, 4, "changed\n");
	name_source(f, ctx);
	set_faults(f, "{\"rules\":[{\"method\":\"PUT\",\"times\":8,\"lost\":true}]}");
	assert_int_equal(upload(f, &second), 0);
	set_faults(f, "{\"rules\":[]}");
	assert_content(f, second);
	free(first);
	free(second);
	context_unref(ctx);
}

/* The bytes of a copy outlive their first owner. */
static void test_source_deleted_later(void **state)
{
	struct fixture *f = *state;
	char *first, *second, path[512];
	struct context *ctx;

	assert_int_equal(upload(f, &first), 0);
	ctx = context_at(f, first);
	set_file(f, 4, "changed\n");
	name_source(f, ctx);
	assert_int_equal(upload(f, &second), 0);
	for (size_t i = 0; i < FILES; i += 2) {
		char name[TEXT_MAX];

		snprintf(name, sizeof(name), "%zu%%23.txt", i);
		blob_path(first, name, path);
		emu_ask_status(&f->emu, "DELETE", path, NULL, 202);
	}
	assert_content(f, second);
	free(first);
	free(second);
	context_unref(ctx);
}

#define WITH(how, t) cmocka_unit_test_setup_teardown(t, setup_##how, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(key, test_one_changed),     WITH(sas, test_one_changed),
		WITH(none, test_one_changed),    WITH(key, test_broken_off),
		WITH(none, test_source_is_gone), WITH(key, test_at_once),
		WITH(key, test_lost_answers),    WITH(none, test_source_deleted_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
