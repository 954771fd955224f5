#include "emulator/build_job.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/log.h"
#include "emulator/build_context.h"
#include "emulator/build_def.h"
#include "emulator/build_dir.h"
#include "emulator/build_engine.h"
#include "emulator/build_run.h"
#include "emulator/db.h"
#include "emulator/emu_int.h"

enum {
	TIMEOUT_DEFAULT_S = 3600, /* as ACR Tasks have it */
	FLUSH_MS = 100,           /* output waits no longer than that for others to go with it */
	FLUSH_RETRY_MS = 1000,    /* and so long where it could not be stored */
	LOOK_TIMEOUT_S = 10,
	DOCKERFILE_MAX = 1024 * 1024,
	IMAGE_SIZE = sizeof(BUILD_ADDRESS) + BUILD_IMAGE_SIZE + 1,
};

const char build_job_service_ended[] = "Failed: the service was ended while it built this image. "
				       "Start the build again.";

/* The image as the builder knows it. */
static void local_image(const char *image, char out[IMAGE_SIZE])
{
	snprintf(out, IMAGE_SIZE, BUILD_ADDRESS "/%s", image);
}

/* What is needed while a build is run. */
struct work {
	struct build_job *j;
	struct build_def def;
	struct build_dir dir;
	struct build_engine engine;
	char image[BUILD_IMAGE_SIZE];
	char dockerfile[BUILD_DIR_PATH]; /* the path of the one to be built */
	int64_t deadline;
	int64_t next_flush;
	bool stuck; /* the last flush failed */
	bool timed_out;
};

static enum build_stop is_stopped(const struct build_job *j)
{
	return j->stopped(j->ctx);
}

static bool context_stop(void *ctx)
{
	return is_stopped(ctx) != BUILD_GO_ON;
}

/* ---- a program's end, in words ---- */

static enum build_state say_failed(struct work *w, const char *why)
{
	build_log_say(&w->j->log, "Failed: %s", why);
	return BUILD_FAILED;
}

static enum build_state say_stopped(struct work *w)
{
	if (is_stopped(w->j) == BUILD_STOP_CANCELED) {
		build_log_say(&w->j->log, "Canceled.");
		return BUILD_CANCELED;
	}
	build_log_say(&w->j->log, "%s", build_job_service_ended);
	return BUILD_FAILED;
}

static unsigned int timeout_of(const struct emu *emu)
{
	return emu->conf.build_timeout_s ? emu->conf.build_timeout_s : TIMEOUT_DEFAULT_S;
}

static enum build_state say_end(struct work *w, const struct build_run *run)
{
	struct build_log *log = &w->j->log;
	const char *name = w->engine.name;
	char image[IMAGE_SIZE];

	local_image(w->image, image);
	if (is_stopped(w->j) != BUILD_GO_ON)
		return say_stopped(w);
	if (w->timed_out)
		build_log_say(log,
			      "Failed: the build took longer than %u s and was ended. The limit is "
			      "that of --build-timeout.",
			      timeout_of(w->j->emu));
	else if (run->end == BUILD_RUN_NOT_RUN)
		build_log_say(log, "Failed: %s could not be run: %s", w->engine.path,
			      strerror(run->value));
	else if (run->end == BUILD_RUN_LOST)
		build_log_say(log, "Failed: %s was ended by somebody, as was what watched over it.",
			      name);
	else if (run->end == BUILD_RUN_SIGNALED)
		build_log_say(log, "Failed: %s was ended by signal %d (%s).", name, run->value,
			      strsignal(run->value));
	else if (run->value)
		build_log_say(log, "Failed: %s ended with status %d. Why is what it wrote above.",
			      name, run->value);
	else
		build_log_say(log, "Succeeded: the image is %s, in the storage of %s.", image,
			      name);
	return run->end == BUILD_RUN_EXITED && !run->value && !w->timed_out ? BUILD_SUCCEEDED
									    : BUILD_FAILED;
}

/* ---- running the builder ---- */

static void take_output(void *ctx, const char *data, size_t len)
{
	struct work *w = ctx;

	build_log_output(&w->j->log, data, len);
	if (w->j->log.pending.len >= BUILD_LOG_FLUSH && !w->stuck)
		w->next_flush = 0;
}

/* What can't be stored stays pending; the end of the build stores it, or says that it can't. */
static void flush(struct work *w, int64_t now)
{
	struct err e = ERR_INIT;
	int ret;

	if (!w->j->log.pending.len || now < w->next_flush)
		return;
	ret = build_log_flush(&w->j->log, &e);
	if (ret)
		log_warn("op=build build=%s error=\"%s\"", w->j->build.name, err_text(&e, ret));
	w->stuck = ret != 0;
	w->next_flush = clock_mono() + (ret ? FLUSH_RETRY_MS : FLUSH_MS) * NS_PER_MS;
}

static int64_t run_idle(void *ctx)
{
	struct work *w = ctx;
	int64_t now = clock_mono();

	flush(w, now);
	if (is_stopped(w->j) != BUILD_GO_ON)
		return 0;
	if (now >= w->deadline) {
		w->timed_out = true;
		return 0;
	}
	return w->j->log.pending.len && w->next_flush < w->deadline ? w->next_flush : w->deadline;
}

static enum build_state run_builder(struct work *w)
{
	const char *argv[BUILD_ENGINE_ARGS];
	struct build_run run = {.argv = argv,
				.envp = (const char *const *)w->engine.env,
				.dir = w->dir.tmp,
				.wake_fd = w->j->wake_fd,
				.output = take_output,
				.idle = run_idle,
				.ctx = w};
	char image[IMAGE_SIZE];
	struct err e = ERR_INIT;
	int ret;

	local_image(w->image, image);
	build_engine_build_args(&w->engine, image, w->dockerfile, w->dir.context, argv);
	w->deadline = clock_mono() + timeout_of(w->j->emu) * NS_PER_S;
	ret = build_run(&run, &e);
	return ret ? say_failed(w, err_text(&e, ret)) : say_end(w, &run);
}

/* ---- asking for an image ---- */

struct look {
	enum build_stop (*stopped)(void *ctx);
	void *ctx;
	int64_t deadline;
};

static void drop_output(void *ctx, const char *data, size_t len)
{
	(void)ctx;
	(void)data;
	(void)len;
}

static int64_t look_idle(void *ctx)
{
	struct look *l = ctx;

	if (clock_mono() >= l->deadline || (l->stopped && l->stopped(l->ctx) != BUILD_GO_ON))
		return 0;
	return l->deadline;
}

static int look_for(const struct build_engine *engine, const char *image, struct look *l,
		    int wake_fd, struct err *e)
{
	const char *argv[BUILD_ENGINE_ARGS];
	struct build_run run = {.argv = argv,
				.envp = (const char *const *)engine->env,
				.dir = "/",
				.wake_fd = wake_fd,
				.output = drop_output,
				.idle = look_idle,
				.ctx = l};
	char local[IMAGE_SIZE];
	int ret;

	local_image(image, local);
	build_engine_look_args(engine, local, argv);
	l->deadline = clock_mono() + LOOK_TIMEOUT_S * NS_PER_S;
	ret = build_run(&run, e);
	return ret ? ret : run.end == BUILD_RUN_EXITED && run.value == 0;
}

int build_job_image_exists(struct emu *emu, const char *image, int wake_fd,
			   enum build_stop (*stopped)(void *ctx), void *ctx, struct err *e)
{
	struct look l = {.stopped = stopped, .ctx = ctx};
	struct build_engine engine;
	int ret = build_engine_find(emu->conf.builder, &engine, e);

	if (!ret)
		ret = look_for(&engine, image, &l, wake_fd, e);
	else if (ret == -ENOENT)
		ret = 0;
	build_engine_release(&engine);
	return ret;
}

/* ---- what is built ---- */

static int load_def(struct work *w, struct err *e)
{
	sqlite3 *conn = db_reader(w->j->emu->db, e);
	int ret;

	if (!conn)
		return e->code ? e->code : -EIO;
	ret = build_def_load(conn, w->j->build.version, &w->def, e);
	db_release(w->j->emu->db, conn);
	if (ret == 0)
		return err_set(e, -ENOENT, "the version was deleted before it was built");
	return ret < 0 ? ret : 0;
}

static int write_text(const char *path, const char *text, struct err *e)
{
	FILE *f = fopen(path, "wxe");
	bool ok = f && fputs(text, f) >= 0;

	if (f && fclose(f))
		ok = false;
	return ok ? 0 : err_set(e, -errno, "%s: %s", path, strerror(errno));
}

static int lay_out_derived(struct work *w, struct err *e)
{
	char conda[BUILD_DIR_PATH + 16];
	int ret = write_text(w->dir.dockerfile, w->def.dockerfile, e);

	snprintf(conda, sizeof(conda), "%s/conda.yml", w->dir.context);
	if (!ret && w->def.conda)
		ret = write_text(conda, w->def.conda, e);
	snprintf(w->dockerfile, sizeof(w->dockerfile), "%s", w->dir.dockerfile);
	snprintf(w->image, sizeof(w->image), "%s", w->def.image);
	return ret;
}

/* Of what the context holds and which Dockerfile of it is meant. */
static int name_of_context(struct work *w, const struct build_context *c, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(EMU_JSON_MAX);
	unsigned char hash[EVP_MAX_MD_SIZE];

	buf_addf(&text, "context 1\n%s\n", w->def.dockerfile_path);
	buf_add(&text, c->hash, sizeof(c->hash));
	if (buf_error(&text) ||
	    EVP_Digest(buf_str(&text), text.len, hash, NULL, EVP_sha256(), NULL) != 1)
		return err_set(e, -EIO, "the definition's hash could not be computed");
	build_def_name(hash, w->image);
	return 0;
}

/* The Dockerfile must be a file of the context, which has no symlinks. */
static int find_dockerfile(struct work *w, struct err *e)
{
	const char *path = w->def.dockerfile_path;
	struct stat st;
	bool outside = *path == '/' || strcmp(path, "..") == 0 || strncmp(path, "../", 3) == 0 ||
		       strstr(path, "/../") ||
		       (strlen(path) > 3 && strcmp(path + strlen(path) - 3, "/..") == 0);

	if (outside || snprintf(w->dockerfile, sizeof(w->dockerfile), "%s/%s", w->dir.context,
				path) >= (int)sizeof(w->dockerfile))
		return err_set(e, -EINVAL, "its dockerfile_path, %s, leads out of the context",
			       path);
	if (lstat(w->dockerfile, &st) || !S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "the build context has no file %s, its Dockerfile",
			       path);
	return 0;
}

static int lay_out_context(struct work *w, struct err *e)
{
	_cleanup_close_ int dir =
		open(w->dir.context, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct build_context c = {
		.uri_path = w->def.context, .dir_fd = dir, .stop = context_stop, .ctx = w->j};
	int ret;

	if (dir < 0)
		return err_set(e, -errno, "%s: %s", w->dir.context, strerror(errno));
	ret = build_context_lay_out(w->j->emu->db, &c, e);
	if (ret)
		return ret;
	build_log_say(&w->j->log, "Build context: %llu files, %llu bytes",
		      (unsigned long long)c.files, (unsigned long long)c.bytes);
	ret = find_dockerfile(w, e);
	return ret ? ret : name_of_context(w, &c, e);
}

/* Its text, for the image's details; "" when it is not a text of reasonable size. */
static char *read_dockerfile(const struct work *w)
{
	_cleanup_close_ int fd = open(w->dockerfile, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char *text = calloc(1, DOCKERFILE_MAX + 1);
	ssize_t n = fd < 0 || !text ? -1 : read(fd, text, DOCKERFILE_MAX + 1);

	if (text && (n < 0 || n > DOCKERFILE_MAX || strlen(text) != (size_t)n))
		text[0] = '\0';
	return text;
}

static int store_definition(struct work *w, struct err *e)
{
	_cleanup_free_ char *text = read_dockerfile(w);
	struct db *db = w->j->emu->db;
	sqlite3 *conn = text ? db_begin(db, e) : NULL;
	int ret;

	if (!conn)
		return text && e->code ? e->code : -ENOMEM;
	ret = build_store_define(conn, w->j->build.id, w->image, text, e);
	if (!ret)
		return db_commit(db, e);
	db_rollback(db);
	return ret;
}

/* ---- an image that is there already ---- */

/* 1: an earlier build made the image, which is still there; its log is this one's now. */
static int take_earlier(struct work *w, struct err *e)
{
	struct db *db = w->j->emu->db;
	struct build earlier;
	sqlite3 *conn = db_reader(db, e);
	struct look l = {.stopped = w->j->stopped, .ctx = w->j->ctx};
	int ret = conn ? build_store_with_image(conn, w->image, &earlier, e) : -EIO;

	db_release(db, conn);
	if (ret == 1)
		ret = look_for(&w->engine, w->image, &l, w->j->wake_fd, e);
	if (ret != 1)
		return ret;
	conn = db_begin(db, e);
	if (!conn)
		return -EIO;
	ret = build_store_share(conn, w->j->build.id, earlier.log, e);
	if (ret)
		db_rollback(db);
	else
		ret = db_commit(db, e);
	return ret ? ret : 1;
}

static int move_to_running(struct work *w, struct err *e)
{
	struct db *db = w->j->emu->db;
	sqlite3 *conn = db_begin(db, e);
	int ret;

	if (!conn)
		return e->code ? e->code : -EIO;
	ret = build_log_store(&w->j->log, conn, e);
	if (!ret)
		ret = build_store_move(conn, w->j->build.id, BUILD_RUNNING, e);
	if (ret < 0) {
		db_rollback(db);
		return ret;
	}
	ret = db_commit(db, e);
	if (!ret)
		build_log_stored(&w->j->log);
	return ret;
}

/* ---- all of it ---- */

static int prepare(struct work *w, struct err *e)
{
	int ret = load_def(w, e);

	if (ret)
		return ret;
	build_log_say(&w->j->log, "Environment: %s", w->def.title);
	ret = build_engine_find(w->j->emu->conf.builder, &w->engine, e);
	if (ret)
		return err_prefix(e, ret, "there is nothing to build images with: ");
	ret = build_engine_set_tmp(&w->engine, w->dir.tmp);
	if (!ret)
		ret = build_dir_make(&w->dir, e);
	if (!ret)
		ret = build_log_spool(&w->j->log, w->dir.spool, e);
	if (!ret)
		ret = w->def.context ? lay_out_context(w, e) : lay_out_derived(w, e);
	return ret ? ret : store_definition(w, e);
}

static enum build_state build(struct work *w)
{
	struct err e = ERR_INIT;
	char image[IMAGE_SIZE];
	int ret = prepare(w, &e);

	if (!ret)
		ret = take_earlier(w, &e);
	if (ret == 1) {
		/* This build's own log was not begun, and never will be. */
		build_log_stored(&w->j->log);
		return BUILD_SUCCEEDED;
	}
	if (is_stopped(w->j) != BUILD_GO_ON)
		return say_stopped(w);
	local_image(w->image, image);
	if (!ret)
		build_log_say(&w->j->log, "Building image with name %s, with %s", image,
			      w->engine.path);
	if (!ret)
		ret = move_to_running(w, &e);
	return ret ? say_failed(w, err_text(&e, ret)) : run_builder(w);
}

enum build_state build_job_run(struct build_job *j)
{
	struct work w = {.j = j};
	enum build_state state;
	struct err e = ERR_INIT;
	int ret = build_dir_paths(j->store, j->build.name, &w.dir, &e);

	state = ret ? say_failed(&w, err_text(&e, ret)) : build(&w);
	build_engine_release(&w.engine);
	build_def_release(&w.def);
	return state;
}
