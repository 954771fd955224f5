/* fs/tempname: names of temporary files, and names of files that somebody wants. */
#include "fs/tempname.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const char *const temporary[] = {
	/* vim, neovim, nano */
	".spec.yml.swp",
	".spec.yml.swo",
	".spec.yml.swn",
	".spec.yml.swx",
	".Dockerfile.swpx",
	".swp",
	"spec_yml.swp",
	"spec.yml~",
	"spec.ym~",
	"Dockerfile~",
	".spec.yml.un~",
	"4913",
	"5036",
	"5774",
	"spec.yml.save",
	"Dockerfile.save",
	/* emacs, jed, joe, mcedit, ne, zile, mg */
	".#spec.yml",
	".#Dockerfile",
	"#spec.yml#",
	"#Dockerfile#",
	"#run#",
	"spec.yml.~1~",
	"spec.yml.~12~",
	"tmpaB3dEf",
	"DEADJOE",
	"cooleditaB3dEf",
	"cooleditabcdef",
	"#spec.yml",
	"#Dockerfile",
	"spec.yml.ZILESAVE",
	"spec.yml.aB3dEfGh1j",
	"Dockerfile.aB3dEfGh1j",
	/* kakoune, vis */
	".spec.yml.kak.aB3dEf",
	".run.kak.abcdef",
	".spec.yml.vis.aB3dEf",
	/* GLib, Qt, Kate */
	".goutputstream-AB12C3",
	".goutputstream-abcdef",
	"spec.yml.hTqZkR",
	"score.py.XmAbcd",
	"Dockerfile.kJ3xQz",
	".spec.yml.kate-swp",
	/* Jupyter, helix, JetBrains */
	".~spec.yml",
	".~Untitled.ipynb",
	".ipynb_checkpoints",
	"spec.ymlaB3dEf.bck",
	"DockerfileaB3dEf.bck",
	"spec.yml.tmp",
	"Dockerfile.tmp",
	"requirements.txt.tmp",
	"spec.yml___jb_tmp___",
	"Dockerfile___jb_old___",
	"run___jb_bak___",
	/* sed, perl, patch, dos2unix, augeas, crudini */
	"sedaB3dEf",
	"sed3kLmQ9",
	"XXaB3dEf",
	"XXk3m9Qz",
	"spec.yml.oaB3dEf",
	"Dockerfile.oaB3dEf",
	"spec.yml.rk3m9Qz",
	"spec.yml.orig",
	"run.orig",
	"spec.yml.rej",
	"d2utmpaB3dEf",
	"spec.yml.augsave",
	"spec.yml.augnew",
	"setup.cfg.ab_3d9fk.tmp",
	"score.py.bak",
	"Dockerfile.bak",
	/* rsync, unison, coreutils, git */
	".spec.yml.aB3dEf",
	".spec.yml.3kLmQ9",
	".spec.yml.abc123",
	".Dockerfile.aBcDeF",
	".Dockerfile.cuda12",
	".gitignore.aB3dEf",
	".gitignore.QWERTZ",
	".run.aB3dEf",
	".model.bin.k3m9Qz",
	".env.aB3dEf",
	".~tmp~",
	".rsync-partial",
	".unison.spec.yml.0123abcd.unison.tmp",
	"CuaB3dE9",
	".merge_file_aB3dEf",
	/* npm, Python */
	"spec.yml.3735928559",
	"package.json.tmp-6094a1b2c3d4e5f6",
	"tmpk3_x9abc",
	"tmp1a2b3c4d",
	/* this program */
	"spec.yml.rejected",
	"Dockerfile.rejected",
};

static const char *const wanted[] = {
	"",
	".",
	"..",
	"a",
	"~",
	"#",
	"##",
	".#",
	"x",
	".x",
	"spec.yml",
	"conda.yml",
	"Dockerfile",
	"requirements.txt",
	"requirements.in",
	"app.config",
	"Web.Config",
	"README.Debian",
	"README",
	"LICENSE",
	".amlignore",
	".gitignore",
	".dockerignore",
	".gitattributes",
	".env",
	".env.docker",
	".env.sample",
	".env.Docker",
	".env.GITHUB",
	".env.cuda12",
	".eslintrc.custom",
	".eslintrc.json.sample",
	".streamlit.config",
	".config.yml.backup",
	".hidden",
	".x.svg",
	".movie.swf",
	"logo.svg",
	"movie.swf",
	/* Dockerfiles have all kinds of last names */
	"Dockerfile.gpu",
	"Dockerfile.cpu",
	"Dockerfile.ubuntu",
	"Dockerfile.debian",
	"Dockerfile.Debian",
	"Dockerfile.cuda12",
	"Dockerfile.CUDA12",
	"Dockerfile.cu1180",
	"Dockerfile.py310x",
	"Dockerfile.py3100",
	"Dockerfile.MLflow",
	"Dockerfile.MlFlow",
	"Dockerfile.GitHub",
	"Dockerfile.PyTest",
	"Dockerfile.OnnxRT",
	"Dockerfile.OpenMP",
	"Dockerfile.CudaV2",
	"Dockerfile.Py310x",
	"Dockerfile.TensorFlow",
	"Dockerfile.production",
	"Dockerfile.PyTorch2x1",
	"Dockerfile.dockerignore",
	"gpu.Dockerfile",
	/* more behind an extension */
	"requirements.txt.j2",
	"requirements.txt.jinja2",
	"requirements.txt.sample",
	"requirements.txt.CUDA12",
	"requirements.txt.Debian",
	"requirements.txt.py310x",
	"requirements.txt.gpu123",
	"config.yaml.example",
	"config.yaml.sample",
	"nginx.conf.tmpl",
	"nginx.conf.template",
	"settings.json.backup",
	"app.yml.20240101",
	"app.yml.2024",
	"libfoo.so.1",
	"libfoo.so.3735928559",
	"data.20240101",
	"access.log.1700000000",
	/* locks of packages, not of programs */
	"conda-lock.yml",
	"poetry.lock",
	"Pipfile.lock",
	"yarn.lock",
	"uv.lock",
	"Cargo.lock",
	"package-lock.json",
	"explicit.lock",
	/* extensions of their own */
	"scaler.save",
	"model.save",
	"settings.tmp",
	"db.bak",
	"db.bck",
	"MyDatabase.bck",
	"MyDataBase.bck",
	"DockerfileBackup.bck",
	"model.onnx",
	"a.out",
	"weights.o",
	"x.object",
	"x.options",
	"x.override",
	"x.release",
	"x.readme",
	"tar.gz",
	"m.tar.gz",
	/* beginnings and numbers */
	"sed",
	"sediments",
	"sedScript",
	"sedation",
	"sed_fixes",
	"sed.sh",
	"XXlarge1",
	"XXL",
	"XXsmall",
	"tmp",
	"tmpconfig",
	"tmpdata01",
	"tmp_scripts",
	"tmp_model_1",
	"tmpfiles.d",
	"tmp.txt",
	"tmpdirectory",
	"CudaTest",
	"CuPyTest",
	"Customer",
	"CurrentX",
	"cooledit",
	"cooledit.txt",
	"4914",
	"04913",
	"49130",
	"5897",
	"1",
	"42",
	"2024",
	"4913.txt",
	"#hash",
	"#1",
	"C#",
	"F#",
	"rejected",
	".rejected",
	"orig",
	".orig",
	"original.asset.yaml",
	"orig.py",
	"rej.txt",
	"deadjoe",
	"swp",
	"swap.swo",
	"x.swx",
	"goutputstream-AB12C3",
	"naïve 日本.txt",
	"-dash.txt",
	"100%25.txt",
	"a#b&c.txt",
	"with space.txt",
	"dot.",
	"__init__.py",
	"_version.py",
	"tmp\xff\xff\xff\xff\xff\xff",
	".x.\xff\xff\xff\xff\xff\xff",
};

static void test_temporary_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(temporary); i++)
		if (!tempname_is(temporary[i]))
			fail_msg("%s is temporary", temporary[i]);
}

static void test_names_of_content(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(wanted); i++)
		if (tempname_is(wanted[i]))
			fail_msg("%s is content", wanted[i]);
}

/* How many of 1000 names with random characters are recognized; always the same names. */
static int recognized(const char *before, size_t n, const char *letters, const char *after)
{
	size_t count = strlen(letters);
	uint64_t number = 88172645463325252;
	int found = 0;

	for (int i = 0; i < 1000; i++) {
		char name[64], middle[16] = "";

		for (size_t k = 0; k < n; k++) {
			number ^= number << 13;
			number ^= number >> 7;
			number ^= number << 17;
			middle[k] = letters[(number >> 11) % count];
		}
		snprintf(name, sizeof(name), "%s%s%s", before, middle, after);
		found += tempname_is(name);
	}
	return found;
}

static void test_most_random_names_are_recognized(void **state)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	static const char python[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
	static const struct {
		const char *before;
		size_t n;
		const char *letters, *after;
		int least;
	} cases[] = {
		{".spec.yml.", 6, letters, "", 990},
		{".Dockerfile.", 6, letters, "", 990},
		{".weights.", 6, letters, "", 960},
		{"sed", 6, letters, "", 960},
		{"XX", 6, letters, "", 960},
		{"tmp", 6, letters, "", 960},
		{"spec.yml.o", 6, letters, "", 960},
		{"spec.yml", 6, letters, ".bck", 960},
		{"cooledit", 6, letters, "", 1000},
		{".goutputstream-", 6, letters, "", 1000},
		{".spec.yml.kak.", 6, letters, "", 1000},
		{"spec.yml.", 6, letters, "", 890},
		{"spec.yml.", 10, letters, "", 970},
		{"Dockerfile.", 6, letters, "", 400},
		{"tmp", 8, python, "", 800},
		{"setup.cfg.", 8, python, ".tmp", 1000},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int n = recognized(cases[i].before, cases[i].n, cases[i].letters, cases[i].after);

		if (n < cases[i].least)
			fail_msg("%s...%s: %d", cases[i].before, cases[i].after, n);
	}
}

static int corpus_files;

static int is_content(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	corpus_files++;
	if (!tempname_is(path + at->base))
		return 0;
	printf("%s\n", path);
	return 1;
}

/* What other people have in their build contexts. */
static void test_the_corpus_is_content(void **state)
{
	static const char *const parts[] = {"environments", "loose"};
	const char *dir = getenv("MLENVFS_CORPUS");
	char path[4096];

	(void)state;
	for (size_t i = 0; i < COUNT(parts); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir && *dir ? dir : "../shared/corpus",
			 parts[i]);
		if (access(path, F_OK)) {
			printf("SKIPPED: no corpus in %s (set MLENVFS_CORPUS)\n", path);
			fflush(stdout);
			skip();
		}
		assert_int_equal(nftw(path, is_content, 16, FTW_PHYS), 0);
	}
	assert_true(corpus_files > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_temporary_names),
		cmocka_unit_test(test_names_of_content),
		cmocka_unit_test(test_most_random_names_are_recognized),
		cmocka_unit_test(test_the_corpus_is_content),
	};

	return cmocka_run_group_tests_name("tempname", tests, NULL, NULL);
}
