/* Environments read from the local disk, in directories made for each test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/buf.h"
#include "client/cleanup.h"
#include "fs/assetdir.h"
#include "fs/beneath.h"
#include "fs/ignore.h"

/* A directory of its own for each test: <path>/asset is the environment's. */
struct place {
	char path[64];
	int top;
	int dir;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->path, sizeof(p->path), "/tmp/mlenvfs-assetdir-XXXXXX");
	if (!mkdtemp(p->path))
		return -1;
	p->top = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mkdirat(p->top, "asset", 0700))
		return -1;
	p->dir = openat(p->top, "asset", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->dir < 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct place *p = *state;

	close(p->dir);
	close(p->top);
	nftw(p->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(p);
	return 0;
}

static void put(const struct place *p, const char *path, const char *text)
{
	char dir[1024];
	int fd;

	snprintf(dir, sizeof(dir), "%s", path);
	for (char *s = strchr(dir, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		mkdirat(p->dir, dir, 0700);
		*s = '/';
	}
	fd = openat(p->dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void put_link(const struct place *p, const char *path, const char *target)
{
	assert_int_equal(symlinkat(target, p->dir, path), 0);
}

static void put_context(const struct place *p)
{
	put(p, "spec.yml", "name: n\nversion: '1'\nbuild:\n  path: ctx\n");
	put(p, "ctx/Dockerfile", "FROM x\n");
}

static struct assetdir *read_good(const struct place *p)
{
	struct assetdir *d = NULL;
	struct err e = ERR_INIT;

	if (assetdir_read(p->dir, "spec.yml", p->top, NULL, NULL, &d, &e))
		fail_msg("%s", e.msg);
	return d;
}

static void assert_refused(const struct place *p, int code, const char *message)
{
	struct assetdir *d = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(assetdir_read(p->dir, "spec.yml", p->top, NULL, NULL, &d, &e), code);
	assert_null(d);
	if (!strstr(e.msg, message))
		fail_msg("\"%s\" is not in \"%s\"", message, e.msg);
}

static void assert_files(const struct place *p, const char *expected)
{
	_cleanup_buf_ struct buf b = BUF_INIT(100000);
	struct assetdir *d = read_good(p);

	for (size_t i = 0; i < d->n_files; i++)
		buf_addf(&b, "%s%s", i ? " " : "", d->files[i].path);
	assert_string_equal(buf_str(&b), expected);
	assetdir_free(d);
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* ---- reading ---- */

static void a_whole_environment_is_read(void **state)
{
	const struct place *p = *state;
	int before = open_fds();
	struct assetdir *d;
	char text[16] = "";

	put_context(p);
	put(p, "ctx/b/c.txt", "hello");
	d = read_good(p);
	assert_int_equal(d->n_files, 2);
	assert_string_equal(d->files[1].path, "b/c.txt");
	assert_int_equal(d->files[1].size, 5);
	assert_int_equal(read(d->files[1].fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	assert_null(d->conda);
	assert_null(d->warnings);
	assetdir_free(d);
	assetdir_free(NULL);
	assert_int_equal(open_fds(), before);
}

static void conda_files_are_read_and_may_climb_to_root(void **state)
{
	const struct place *p = *state;
	struct assetdir *d = NULL;
	struct err e = ERR_INIT;

	put(p, "spec.yml", "name: n\nimage: i\nconda_file: ../conda.yml\n");
	put(p, "../conda.yml", "a: 3.10 # kept\n");
	d = read_good(p);
	assert_string_equal(d->conda, "a: 3.10 # kept\n");
	assetdir_free(d);
	assert_int_equal(assetdir_read(p->dir, "spec.yml", -1, NULL, NULL, &d, &e), -EBADMSG);
	assert_non_null(
		strstr(e.msg, "spec.yml: line 3, column 13: conda_file: ../conda.yml leads"));
	put(p, "spec.yml", "name: n\nimage: i\nconda_file: ../../conda.yml\n");
	assert_refused(p, -EBADMSG, "leads out");
	put(p, "spec.yml", "name: n\nimage: i\nconda_file: ../asset/../asset/c.yml\n");
	put(p, "c.yml", "b: 1\n");
	d = read_good(p);
	assert_string_equal(d->conda, "b: 1\n");
	assetdir_free(d);
	put(p, "spec.yml", "name: n\nimage: i\nconda_file: {a: [b]}\n");
	d = read_good(p);
	assert_string_equal(d->conda, "a:\n  - b\n");
	assetdir_free(d);
}

static void conda_files_that_cannot_be_used_are_refused(void **state)
{
	const struct place *p = *state;
	_cleanup_buf_ struct buf big = BUF_INIT(4 * ASSET_TEXT_MAX);

	put(p, "spec.yml", "name: n\nimage: i\nconda_file: c.yml\n");
	assert_refused(p, -EBADMSG, "c.yml does not exist");
	put(p, "c.yml", "a: [b\n");
	assert_refused(p, -EBADMSG, "c.yml: line 2, column 1");
	put(p, "c.yml", "- a\n");
	assert_refused(p, -EBADMSG, "c.yml: line 1, column 1: a conda specification is a mapping");
	for (int i = 0; i <= ASSET_TEXT_MAX; i++)
		buf_addch(&big, '#');
	put(p, "c.yml", buf_str(&big));
	assert_refused(p, -EFBIG, "larger than");
	unlinkat(p->dir, "c.yml", 0);
	put_link(p, "c.yml", "/etc/passwd");
	assert_refused(p, -EBADMSG, "leads out");
	unlinkat(p->dir, "c.yml", 0);
	assert_int_equal(mkfifoat(p->dir, "c.yml", 0600), 0);
	assert_refused(p, -EBADMSG, "no regular file");
	unlinkat(p->dir, "c.yml", 0);
	assert_int_equal(mkdirat(p->dir, "c.yml", 0700), 0);
	assert_refused(p, -EBADMSG, "is a folder");
}

static void the_path_gives_the_names(void **state)
{
	const struct place *p = *state;
	struct assetdir *d = NULL;
	struct err e = ERR_INIT;

	put(p, "spec.yml", "image: i\nid: x\n");
	assert_refused(p, -EBADMSG, "the name is missing");
	assert_int_equal(assetdir_read(p->dir, "spec.yml", -1, "alpha", "7", &d, &e), 0);
	assert_string_equal(d->spec->name, "alpha");
	assert_string_equal(d->spec->version, "7");
	assert_non_null(strstr(d->warnings, "line 2: id is set by the service"));
	assert_non_null(
		strstr(d->warnings, "\nspec.yml has no name; it is that of the folder, alpha"));
	assetdir_free(d);
	put(p, "spec.yml", "image: i\nname: beta\nversion: 3\n");
	assert_int_equal(assetdir_read(p->dir, "spec.yml", -1, "alpha", "7", &d, &e), 0);
	assert_string_equal(d->spec->name, "alpha");
	assert_non_null(strstr(d->warnings, "says name beta, the folder alpha"));
	assert_non_null(strstr(d->warnings, "says version 3, the folder 7"));
	assetdir_free(d);
	assert_int_equal(assetdir_read(p->dir, "spec.yml", -1, "a b", "7", &d, &e), -EBADMSG);
	assert_int_equal(assetdir_read(p->dir, "spec.yml", -1, "a", "..", &d, &e), -EBADMSG);
	assert_int_equal(assetdir_read(p->dir, "spec.yml", -1, "beta", NULL, &d, &e), 0);
	assert_string_equal(d->spec->version, "3");
	assert_null(d->warnings);
	assetdir_free(d);
}

static void specs_that_cannot_be_read_are_refused(void **state)
{
	const struct place *p = *state;

	assert_refused(p, -EBADMSG, "spec.yml does not exist");
	put_link(p, "spec.yml", "../outside");
	put(p, "../outside", "name: n\nimage: i\n");
	assert_refused(p, -EBADMSG, "leads out");
	unlinkat(p->dir, "spec.yml", 0);
	put(p, "spec.yml", "name: n\nimage: [\n");
	assert_refused(p, -EBADMSG, "spec.yml: line 3, column 1");
}

/* ---- contexts ---- */

static void contexts_without_a_dockerfile_are_refused(void **state)
{
	const struct place *p = *state;

	put(p, "spec.yml", "name: n\nbuild:\n  path: ctx\n");
	assert_refused(p, -EBADMSG, "spec.yml: line 3, column 9: build.path: ctx does not exist");
	put(p, "ctx/x", "");
	assert_refused(p, -EBADMSG, "line 3, column 9: the build context has no file Dockerfile");
	put(p, "ctx/Dockerfile", "");
	assert_files(p, "Dockerfile x");
	put(p, "spec.yml", "name: n\nbuild:\n  path: ctx\n  dockerfile_path: ./d/My\n");
	assert_refused(p, -EBADMSG, "line 4, column 20: the build context has no file d/My");
	put(p, "ctx/d/My", "");
	assert_files(p, "Dockerfile d/My x");
	put(p, "ctx/.amlignore", "My\n");
	assert_refused(p, -EBADMSG, "ignore file");
}

static void the_context_may_be_the_folder_itself(void **state)
{
	const struct place *p = *state;

	put(p, "spec.yml", "name: n\nbuild: {path: .}\n");
	put(p, "Dockerfile", "");
	assert_files(p, "Dockerfile spec.yml");
}

static void links_are_followed_inside_the_context_only(void **state)
{
	const struct place *p = *state;

	put_context(p);
	put(p, "ctx/d/e/f", "1");
	put_link(p, "ctx/d/up", "../Dockerfile");
	put_link(p, "ctx/over", "d/../d/e/f");
	put_link(p, "ctx/dir", "./d/e");
	put_link(p, "ctx/d/e/back", "../../over");
	assert_files(p, "Dockerfile d/e/back d/e/f d/up dir/back dir/f over");
	put_link(p, "ctx/out", "../spec.yml");
	assert_refused(p, -EBADMSG, "\"out\" is a link that leads out");
	unlinkat(p->dir, "ctx/out", 0);
	put_link(p, "ctx/out", "/etc/passwd");
	assert_refused(p, -EBADMSG, "leads out");
	unlinkat(p->dir, "ctx/out", 0);
	put_link(p, "ctx/out", "../ctx/Dockerfile");
	assert_refused(p, -EBADMSG, "leads out");
	unlinkat(p->dir, "ctx/out", 0);
	put_link(p, "ctx/out", "nothing");
	assert_refused(p, -EBADMSG, "is a link to nothing");
	put(p, "ctx/.amlignore", "out\n");
	assert_files(p, ".amlignore Dockerfile d/e/back d/e/f d/up dir/back dir/f over");
}

static void circles_of_links_end(void **state)
{
	const struct place *p = *state;

	put_context(p);
	put_link(p, "ctx/a", "b");
	put_link(p, "ctx/b", "a");
	assert_refused(p, -EBADMSG, "circle");
	unlinkat(p->dir, "ctx/a", 0);
	unlinkat(p->dir, "ctx/b", 0);
	put(p, "ctx/d/x", "");
	put_link(p, "ctx/d/top", "..");
	assert_refused(p, -EBADMSG, "a folder that it lies in");
	unlinkat(p->dir, "ctx/d/top", 0);
	put_link(p, "ctx/self", ".");
	assert_refused(p, -EBADMSG, "a folder that it lies in");
	unlinkat(p->dir, "ctx/self", 0);
	put_link(p, "ctx/long", "long/x");
	assert_refused(p, -EBADMSG, "circle");
}

/* Each folder links twice to the next one: 2^20 paths without a file. */
static void folders_that_multiply_end(void **state)
{
	const struct place *p = *state;
	char path[64], target[64];

	put_context(p);
	for (int i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "ctx/f%d", i);
		assert_int_equal(mkdirat(p->dir, path, 0700), 0);
		snprintf(target, sizeof(target), "../f%d", i + 1);
		snprintf(path, sizeof(path), "ctx/f%d/a", i);
		put_link(p, path, target);
		snprintf(path, sizeof(path), "ctx/f%d/b", i);
		put_link(p, path, target);
	}
	assert_int_equal(mkdirat(p->dir, "ctx/f20", 0700), 0);
	assert_refused(p, -EFBIG, "more than 40000 entries");
}

/* A folder in the one that path names, which becomes its path. */
static void put_deeper(const struct place *p, struct buf *path)
{
	assert_int_equal(buf_addstr(path, "/d"), 0);
	assert_int_equal(mkdirat(p->dir, buf_str(path), 0700), 0);
}

static void depth_is_bounded(void **state)
{
	_cleanup_buf_ struct buf path = BUF_INIT(1000);
	const struct place *p = *state;

	put_context(p);
	buf_addstr(&path, "ctx");
	for (int i = 0; i < ASSETDIR_DEPTH_MAX - 1; i++)
		put_deeper(p, &path);
	assert_files(p, "Dockerfile");
	put_deeper(p, &path);
	assert_refused(p, -EFBIG, "nested too deep");
}

static void what_is_no_file_is_refused(void **state)
{
	const struct place *p = *state;

	put_context(p);
	assert_int_equal(mkfifoat(p->dir, "ctx/pipe", 0600), 0);
	assert_refused(p, -EBADMSG, "\"pipe\" is neither a file nor a folder");
	put_link(p, "ctx/alink", "pipe");
	assert_refused(p, -EBADMSG, "neither a file nor a folder");
	put(p, "ctx/.amlignore", "pipe\nalink\n");
	assert_files(p, ".amlignore Dockerfile");
	put(p, "ctx/bad\xff name", "");
	assert_refused(p, -EBADMSG, "not UTF-8");
}

static void too_few_descriptors_are_an_error_in_words(void **state)
{
	const struct place *p = *state;
	struct rlimit old, low;
	struct assetdir *d = NULL;
	struct err e = ERR_INIT;
	char path[64];
	int before, rc;

	put_context(p);
	for (int i = 0; i < 60; i++) {
		snprintf(path, sizeof(path), "ctx/f%d", i);
		put(p, path, "");
	}
	before = open_fds();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 40;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	rc = assetdir_read(p->dir, "spec.yml", -1, NULL, NULL, &d, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(rc, -EMFILE);
	assert_non_null(strstr(e.msg, "more files than may be open at once (40)"));
	assert_int_equal(open_fds(), before);
}

/* ---- ignore rules ---- */

static void ignored_files_are_left_out(void **state)
{
	const struct place *p = *state;

	put_context(p);
	put(p, "ctx/a.log", "");
	put(p, "ctx/keep.log", "");
	put(p, "ctx/tmp/x", "");
	put(p, "ctx/sub/tmp/y", "");
	put(p, "ctx/.gitignore", "*.log\n");
	assert_files(p, ".gitignore Dockerfile sub/tmp/y tmp/x");
	put(p, "ctx/.amlignore", "# comment\n*.log\n!keep.log\r\n/tmp/\n.gitignore\n");
	assert_files(p, ".amlignore Dockerfile keep.log sub/tmp/y");
}

static void temporary_names_are_left_out_everywhere(void **state)
{
	const struct place *p = *state;

	put_context(p);
	put(p, "ctx/.Dockerfile.swp", "");
	put(p, "ctx/.Dockerfile.aB3dEf", "");
	put(p, "ctx/sub/deep/a.py", "");
	put(p, "ctx/sub/deep/a.py~", "");
	put(p, "ctx/sub/deep/4913", "");
	put(p, "ctx/sub/.~tmp~/b.py", "");
	put(p, "ctx/sub/.ipynb_checkpoints/c.ipynb", "");
	put(p, "ctx/sub/Dockerfile.cuda12", "");
	put_link(p, "ctx/sub/.#a.py", "user@host.123:456");
	assert_files(p, "Dockerfile sub/Dockerfile.cuda12 sub/deep/a.py");
	/* No rule brings them back. */
	put(p, "ctx/.amlignore", "!*~\n!*.swp\n");
	assert_files(p, ".amlignore Dockerfile sub/Dockerfile.cuda12 sub/deep/a.py");
	put(p, "spec.yml", "name: n\nbuild:\n  path: ctx\n  dockerfile_path: Dockerfile.orig\n");
	put(p, "ctx/Dockerfile.orig", "");
	assert_refused(p, -EBADMSG, "no file Dockerfile.orig");
	assert_refused(p, -EBADMSG, "temporary name");
}

static void patterns_match_as_with_git(void **state)
{
	static const struct {
		const char *rules, *path;
		bool dir, ignored;
	} cases[] = {
		{"foo", "foo", false, true},
		{"foo", "a/foo", false, true},
		{"foo", "a/foo", true, true},
		{"foo/", "foo", false, false},
		{"foo/", "a/foo", true, true},
		{"/foo", "foo", false, true},
		{"/foo", "a/foo", false, false},
		{"a/foo", "a/foo", false, true},
		{"a/foo", "b/a/foo", false, false},
		{"**/foo", "foo", false, true},
		{"**/foo", "a/b/foo", false, true},
		{"a/**", "a/b/c", false, true},
		{"a/**", "a", true, false},
		{"a/**/b", "a/b", false, true},
		{"a/**/b", "a/x/y/b", false, true},
		{"a/**/b", "a/x/y/c", false, false},
		{"**/a/**/b", "x/a/y/a/z/b", false, true},
		{"*.txt", "d/x.txt", false, true},
		{"d/*.txt", "d/e/x.txt", false, false},
		{"a*c", "abbc", false, true},
		{"a*b*c", "aXbYbZc", false, true},
		{"a?c", "abc", false, true},
		{"d/a?c", "d/a/c", false, false},
		{"[a-c]x", "bx", false, true},
		{"[!a-c]x", "bx", false, false},
		{"[]]x", "]x", false, true},
		{"[a", "[a", false, true},
		{"\\#x", "#x", false, true},
		{"#x", "#x", false, false},
		{"\\!x", "!x", false, true},
		{"\\*", "*", false, true},
		{"\\*", "a", false, false},
		{"x  ", "x", false, true},
		{"x\\ ", "x ", false, true},
		{"*\n!keep", "keep", false, false},
		{"!keep\n*", "keep", false, true},
		{"", "x", false, false},
		{"/", "x", true, false},
		{"!", "x", false, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ignore *ig = NULL;

		assert_int_equal(ignore_parse(cases[i].rules, strlen(cases[i].rules), &ig, NULL),
				 0);
		if (ignore_match(ig, cases[i].path, cases[i].dir) != cases[i].ignored)
			fail_msg("%s and %s", cases[i].rules, cases[i].path);
		ignore_free(ig);
	}
	assert_false(ignore_match(NULL, "x", false));
}

/* A pattern that takes simple matchers ages, and rules past their bounds. */
static void hostile_rules_end(void **state)
{
	_cleanup_buf_ struct buf rules = BUF_INIT(1 << 20), path = BUF_INIT(1 << 20);
	struct ignore *ig = NULL;
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 0; i < 500; i++) {
		buf_addstr(&rules, "a*/**/");
		buf_addstr(&path, "aaaaaaa/");
	}
	buf_addstr(&rules, "b");
	buf_addstr(&path, "c");
	assert_int_equal(ignore_parse(buf_str(&rules), rules.len, &ig, &e), 0);
	assert_false(ignore_match(ig, buf_str(&path), false));
	ignore_free(ig);
	buf_reset(&rules);
	for (int i = 0; i <= IGNORE_RULES_MAX; i++)
		buf_addstr(&rules, "x\n");
	assert_int_equal(ignore_parse(buf_str(&rules), rules.len, &ig, &e), -EFBIG);
	for (int i = 0; i < IGNORE_SIZE_MAX; i++)
		buf_addch(&rules, '#');
	assert_int_equal(ignore_parse(buf_str(&rules), rules.len, &ig, &e), -EFBIG);
}

/* ---- beneath ---- */

static void nothing_outside_root_is_opened(void **state)
{
	const struct place *p = *state;
	static const char *const outside[] = {"/etc/passwd", "../x", "a/../../x", "l/../../x"};
	char longer[300];
	int fd;

	put(p, "a/f", "");
	put_link(p, "l", "a");
	put_link(p, "deep", "l/f");
	for (size_t i = 0; i < sizeof(outside) / sizeof(*outside); i++)
		assert_int_equal(beneath_open(p->dir, p->dir, outside[i], O_RDONLY), -EXDEV);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(beneath_open(p->dir, p->dir, longer, O_RDONLY), -ENAMETOOLONG);
	assert_int_equal(beneath_open(p->dir, p->dir, "a/no", O_RDONLY), -ENOENT);
	assert_int_equal(beneath_open(p->dir, p->dir, "a/f/x", O_RDONLY), -ENOTDIR);
	fd = beneath_open(p->dir, p->dir, "./l/..//deep", O_RDONLY);
	assert_true(fd >= 0);
	close(fd);
	fd = beneath_open(p->dir, p->dir, "a/..", O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	close(fd);
	/* A directory that is not below root can't be climbed out of. */
	fd = openat(p->dir, "a", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(beneath_open(fd, p->dir, "../x", O_RDONLY), -EXDEV);
	close(fd);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_whole_environment_is_read),
		TEST(conda_files_are_read_and_may_climb_to_root),
		TEST(conda_files_that_cannot_be_used_are_refused),
		TEST(the_path_gives_the_names),
		TEST(specs_that_cannot_be_read_are_refused),
		TEST(contexts_without_a_dockerfile_are_refused),
		TEST(the_context_may_be_the_folder_itself),
		TEST(links_are_followed_inside_the_context_only),
		TEST(circles_of_links_end),
		TEST(folders_that_multiply_end),
		TEST(depth_is_bounded),
		TEST(what_is_no_file_is_refused),
		TEST(too_few_descriptors_are_an_error_in_words),
		TEST(ignored_files_are_left_out),
		TEST(temporary_names_are_left_out_everywhere),
		TEST(patterns_match_as_with_git),
		TEST(hostile_rules_end),
		TEST(nothing_outside_root_is_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
