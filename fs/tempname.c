#include "fs/tempname.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

enum {
	RANDOM = 6,       /* characters that mkstemp(3) and most others make up */
	RANDOM_LONG = 10, /* OpenBSD's way */
	PYTHON = 8,       /* of [a-z0-9_] */
	VIM_FIRST = 4913,
	VIM_STEP = 123,
	VIM_TRIES = 8,
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* A part of a name. */
struct part {
	const char *s;
	size_t len;
};

/* ---- letters; of ASCII, whatever the locale ---- */

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_upper(c) || is_lower(c) || is_digit(c);
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool is_python(char c)
{
	return is_lower(c) || is_digit(c) || c == '_';
}

static bool all(struct part p, bool (*is)(char))
{
	for (size_t i = 0; i < p.len; i++)
		if (!is(p.s[i]))
			return false;
	return true;
}

static bool any(struct part p, bool (*is)(char))
{
	for (size_t i = 0; i < p.len; i++)
		if (is(p.s[i]))
			return true;
	return false;
}

/* ---- what people choose and what programs make up ---- */

static size_t span(struct part p, size_t from, bool (*is)(char))
{
	size_t n = 0;

	while (from + n < p.len && is(p.s[from + n]))
		n++;
	return n;
}

/* "config", "CUDA", "Debian", "cuda12", "GPU2", "Test01", "2024". */
static bool is_word(struct part p)
{
	size_t upper = span(p, 0, is_upper), lower = span(p, upper, is_lower);

	return (upper <= 1 || !lower) && upper + lower + span(p, upper + lower, is_digit) == p.len;
}

/* Letters and digits that are not a word. */
static bool is_random(struct part p)
{
	return all(p, is_alnum) && !is_word(p);
}

/*
 * Letters and digits that are not even a few words in one, as "MLflow", "GitHub", "py310x" and
 * "PyTorch2x1" are: runs of capitals, then small letters, then digits that are shorter than three
 * characters on average.
 */
static bool is_very_random(struct part p)
{
	size_t at = 0, runs = 0;

	if (!all(p, is_alnum))
		return false;
	for (; at < p.len; runs++) {
		at += span(p, at, is_upper);
		at += span(p, at, is_lower);
		at += span(p, at, is_digit);
	}
	return runs > (p.len + 1) / 3;
}

/* Files that are edited and have a name without an extension. */
static const char *const known_names[] = {
	"Containerfile", "Dockerfile", "LICENSE",        "Makefile", "NOTICE",
	"Pipfile",       "README",     ".amlignore",     ".bashrc",  ".condarc",
	".dockerignore", ".gitignore", ".gitattributes", ".npmrc",   ".profile",
};

/* Extensions of files that are edited: what follows one is no extension. */
static const char *const known_extensions[] = {
	"bash", "bat",   "c",          "cc",   "cfg",    "cmake", "conf", "cpp",        "cs",
	"css",  "csv",   "dockerfile", "env",  "go",     "h",     "hpp",  "html",       "in",
	"ini",  "ipynb", "j2",         "java", "jinja2", "jl",    "js",   "json",       "kt",
	"lock", "lua",   "md",         "mk",   "nix",    "php",   "pl",   "properties", "proto",
	"ps1",  "py",    "r",          "rb",   "rmd",    "rs",    "rst",  "scala",      "service",
	"sh",   "sql",   "template",   "tf",   "tmpl",   "toml",  "ts",   "tsv",        "txt",
	"xml",  "yaml",  "yml",
};

/* Whether it is the name of a file with such an extension. */
static bool has_extension(struct part p)
{
	size_t dot = p.len;

	while (dot && p.s[dot - 1] != '.')
		dot--;
	if (dot < 2)
		return false;
	for (size_t i = 0; i < COUNT(known_extensions); i++)
		if (strlen(known_extensions[i]) == p.len - dot &&
		    strncasecmp(known_extensions[i], p.s + dot, p.len - dot) == 0)
			return true;
	return false;
}

/* Whether it is the whole name of a file, to which more was added then. */
static bool is_file(struct part p)
{
	for (size_t i = 0; i < COUNT(known_names); i++)
		if (strlen(known_names[i]) == p.len && memcmp(known_names[i], p.s, p.len) == 0)
			return true;
	return has_extension(p);
}

/* ---- taking names apart ---- */

static bool has_prefix(struct part p, const char *prefix)
{
	size_t n = strlen(prefix);

	return p.len > n && memcmp(p.s, prefix, n) == 0;
}

static bool has_suffix(struct part p, const char *suffix)
{
	size_t n = strlen(suffix);

	return p.len > n && memcmp(p.s + p.len - n, suffix, n) == 0;
}

static struct part without_last(struct part p, size_t n)
{
	return (struct part){p.s, p.len - n};
}

static struct part last(struct part p, size_t n)
{
	return (struct part){p.s + p.len - n, n};
}

/* Whether it is the prefix and n characters. */
static bool is_prefixed(struct part p, const char *prefix, size_t n)
{
	return has_prefix(p, prefix) && p.len == strlen(prefix) + n;
}

/* ---- names that no one chooses ---- */

static const char *const whole[] = {
	"DEADJOE",            /* joe and jupp, when killed */
	".ipynb_checkpoints", /* Jupyter's earlier versions */
	".rsync-partial",     /* rsync --partial-dir, when interrupted */
};

/* These and at least one character more. */
static const char *const prefixes[] = {
	".#", /* emacs, jed, joe, mcedit: the lock, a link to nothing */
	".~", /* Jupyter's copy while it saves; rsync --delay-updates' .~tmp~; LibreOffice's lock */
};

static const char *const suffixes[] = {
	"~",            /* vim, neovim, emacs (also .~1~), nano -B, joe, jed, mg, cp -b: a backup;
			 * vim's .x.un~: undo */
	".orig",        /* patch -b */
	".rej",         /* patch: what did not fit */
	".ZILESAVE",    /* zile, when killed */
	".kate-swp",    /* Kate, KWrite */
	".augsave",     /* augeas */
	".augnew",      /* augeas */
	"___jb_tmp___", /* JetBrains */
	"___jb_old___", /* JetBrains */
	"___jb_bak___", /* JetBrains */
	".rejected",    /* what this program could not publish */
};

/* These only after the whole name of a file: settings.tmp and db.bak are somebody's own. */
static const char *const file_suffixes[] = {
	".tmp",  /* JetBrains, and many a program's own way */
	".bak",  /* sed -i.bak, perl -i.bak */
	".save", /* nano, when killed */
};

/* These and six random characters. */
static const char *const random_prefixes[] = {
	".goutputstream-", /* GLib: gedit, mousepad, geany, gio */
	"cooledit",        /* mcedit */
	"d2utmp",          /* dos2unix */
	".merge_file_",    /* git merge */
};

/* The same, where the six must not be a word: "sedScript", "tmpconfig". */
static const char *const word_prefixes[] = {
	"sed", /* sed -i */
	"XX",  /* perl -i */
	"tmp", /* emacs with file-precious-flag */
};

/* ---- names that take a closer look ---- */

/*
 * vim and nano: .x.swp, then .swo ... (not .swf, which is a format); x_yml.swp. Beside the first,
 * vim makes another for a moment, to see whether names are cut off: .x.yml.swx, or .x.swpx where x
 * has no dot.
 */
static bool is_swap(struct part p)
{
	char c;

	if (p.s[0] == '.' && has_suffix(p, ".swpx"))
		return true;
	if (p.len < 4 || memcmp(p.s + p.len - 4, ".sw", 3) != 0)
		return false;
	c = p.s[p.len - 1];
	return c == 'p' || (p.s[0] == '.' && ((c >= 'g' && c < 'p') || c == 'x'));
}

/* vim tries whether it may make files with the name 4913, or a number 123 higher if it is taken. */
static bool is_vim_probe(struct part p)
{
	int number = 0;

	if (p.len != 4 || !all(p, is_digit))
		return false;
	for (size_t i = 0; i < p.len; i++)
		number = number * 10 + (p.s[i] - '0');
	return number >= VIM_FIRST && number < VIM_FIRST + VIM_TRIES * VIM_STEP &&
	       (number - VIM_FIRST) % VIM_STEP == 0;
}

/* emacs and jed save #x# by themselves; ne leaves #x behind when killed. */
static bool is_auto_save(struct part p)
{
	return p.s[0] == '#' && p.len > 2 &&
	       (p.s[p.len - 1] == '#' || is_file((struct part){p.s + 1, p.len - 1}));
}

/*
 * rsync: .x.XXXXXX, and of a file that has a dot already, just .x.XXXXXX too; kakoune
 * .x.kak.XXXXXX, vis .x.vis.XXXXXX. But .env.docker and .config.json.sample are files.
 */
static bool is_hidden_copy(struct part p)
{
	struct part end, file;

	if (p.s[0] != '.' || p.len < 1 + 1 + 1 + RANDOM || p.s[p.len - RANDOM - 1] != '.')
		return false;
	end = last(p, RANDOM);
	file = without_last(p, RANDOM + 1);
	if (has_suffix(file, ".kak") || has_suffix(file, ".vis"))
		return all(end, is_alnum);
	if (is_file(file) || is_file((struct part){file.s + 1, file.len - 1}))
		return all(end, is_alnum) && !all(end, is_lower) && !all(end, is_digit);
	return is_random(end);
}

/* Qt (Kate, KWrite) and augeas: x.XXXXXX; mg: x.XXXXXXXXXX. But Dockerfile.CUDA12 is a file. */
static bool is_copy(struct part p, size_t n)
{
	struct part end;

	if (p.len < 1 + 1 + n || p.s[p.len - n - 1] != '.')
		return false;
	end = last(p, n);
	if (has_extension(without_last(p, n + 1)))
		return is_random(end) && any(end, is_upper) && any(end, is_lower);
	return is_very_random(end);
}

/* patch: x.oXXXXXX for the output, x.rXXXXXX for the rejects. */
static bool is_patch_output(struct part p)
{
	struct part end, file;

	if (p.len <= 2 + RANDOM)
		return false;
	end = last(p, RANDOM);
	file = without_last(p, RANDOM);
	if (!has_suffix(file, ".o") && !has_suffix(file, ".r"))
		return false;
	if (is_file(without_last(file, 2)))
		return all(end, is_alnum) && !all(end, is_lower) && !all(end, is_digit);
	return is_random(end);
}

/* helix: xXXXXXX.bck. */
static bool is_helix_backup(struct part p)
{
	struct part stem, end;

	if (!has_suffix(p, ".bck") || p.len < 1 + RANDOM + 4)
		return false;
	stem = without_last(p, 4);
	end = last(stem, RANDOM);
	return is_file(without_last(stem, RANDOM)) ? is_random(end) : is_very_random(end);
}

/* crudini: x.ini.xxxxxxxx.tmp, made by Python's tempfile. */
static bool is_crudini_copy(struct part p)
{
	struct part stem;

	if (!has_suffix(p, ".tmp") || p.len < 1 + 1 + PYTHON + 4)
		return false;
	stem = without_last(p, 4);
	return all(last(stem, PYTHON), is_python) && has_suffix(without_last(stem, PYTHON), ".") &&
	       is_file(without_last(stem, PYTHON + 1));
}

/* unison: .unison.x.<hex>.unison.tmp */
static bool is_unison_copy(struct part p)
{
	return has_prefix(p, ".unison.") && has_suffix(p, ".unison.tmp");
}

/* npm: write-file-atomic's x.yml.<a 32-bit hash in decimal>, atomically's x.yml.tmp-<hex>. */
static bool is_npm_copy(struct part p)
{
	size_t digits = 0, hex = 0;

	while (digits < p.len && is_digit(p.s[p.len - 1 - digits]))
		digits++;
	while (hex < p.len && is_hex(p.s[p.len - 1 - hex]))
		hex++;
	if (hex >= RANDOM && has_suffix(without_last(p, hex), ".tmp-"))
		return true;
	return (digits == 9 || digits == 10) && has_suffix(without_last(p, digits), ".") &&
	       has_extension(without_last(p, digits + 1));
}

/* Python's tempfile: tmp and eight of [a-z0-9_], with a digit before a letter: not tmp_scripts. */
static bool is_python_temp(struct part p)
{
	bool digit = false;

	if (!is_prefixed(p, "tmp", PYTHON) || !all(last(p, PYTHON), is_python))
		return false;
	for (size_t i = 3; i < p.len; i++) {
		if (digit && is_lower(p.s[i]))
			return true;
		digit = digit || is_digit(p.s[i]);
	}
	return false;
}

/* coreutils replace a link by renaming CuXXXXXX. But CudaTest is a file. */
static bool is_coreutils_link(struct part p)
{
	return is_prefixed(p, "Cu", RANDOM) && is_very_random(p);
}

/* ---- all of them ---- */

static bool in_tables(struct part p)
{
	for (size_t i = 0; i < COUNT(whole); i++)
		if (strcmp(p.s, whole[i]) == 0)
			return true;
	for (size_t i = 0; i < COUNT(prefixes); i++)
		if (has_prefix(p, prefixes[i]))
			return true;
	for (size_t i = 0; i < COUNT(suffixes); i++)
		if (has_suffix(p, suffixes[i]))
			return true;
	for (size_t i = 0; i < COUNT(file_suffixes); i++)
		if (has_suffix(p, file_suffixes[i]) &&
		    is_file(without_last(p, strlen(file_suffixes[i]))))
			return true;
	for (size_t i = 0; i < COUNT(random_prefixes); i++)
		if (is_prefixed(p, random_prefixes[i], RANDOM))
			return all(last(p, RANDOM), is_alnum);
	for (size_t i = 0; i < COUNT(word_prefixes); i++)
		if (is_prefixed(p, word_prefixes[i], RANDOM))
			return is_random(last(p, RANDOM));
	return false;
}

/* Ours, when several are kept: x.rejected.1. */
static bool is_numbered_rejected(struct part p)
{
	while (p.len && is_digit(p.s[p.len - 1]))
		p.len--;
	return has_suffix(p, ".rejected.");
}

bool tempname_is(const char *name)
{
	struct part p = {name, strlen(name)};

	return in_tables(p) || is_swap(p) || is_vim_probe(p) || is_auto_save(p) ||
	       is_hidden_copy(p) || is_copy(p, RANDOM) || is_copy(p, RANDOM_LONG) ||
	       is_patch_output(p) || is_helix_backup(p) || is_crudini_copy(p) ||
	       is_numbered_rejected(p) || is_unison_copy(p) || is_npm_copy(p) ||
	       is_python_temp(p) || is_coreutils_link(p);
}

bool tempname_may_be(const char *name)
{
	struct part p = {name, strlen(name)}, end;

	if (p.len <= RANDOM)
		return false;
	end = last(p, RANDOM);
	if (!all(end, is_alnum))
		return false;
	/* sed -i, perl -i, emacs; patch; rsync and editors that put a dot before the six. */
	for (size_t i = 0; i < COUNT(word_prefixes); i++)
		if (is_prefixed(p, word_prefixes[i], RANDOM))
			return true;
	return has_suffix(without_last(p, RANDOM), ".o") ||
	       has_suffix(without_last(p, RANDOM), ".r") ||
	       has_suffix(without_last(p, RANDOM), ".");
}
