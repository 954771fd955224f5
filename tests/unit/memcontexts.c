#include "tests/unit/memcontexts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONTEXTS_MAX = 32, FILES_MAX = 32, URI_SIZE = 48, TEXT_MAX = 1 << 16 };

struct stored {
	char uri[URI_SIZE];
	struct memcontext_file files[FILES_MAX];
	size_t n;
};

struct memcontexts {
	struct stored stored[CONTEXTS_MAX];
	size_t n;
};

static void *must(void *p)
{
	if (!p) {
		fprintf(stderr, "memcontexts: no memory\n");
		exit(1);
	}
	return p;
}

struct memcontexts *memcontexts_new(void)
{
	return must(calloc(1, sizeof(struct memcontexts)));
}

void memcontexts_free(struct memcontexts *m)
{
	for (size_t i = 0; i < m->n; i++) {
		for (size_t k = 0; k < m->stored[i].n; k++) {
			free((char *)(uintptr_t)m->stored[i].files[k].path);
			free((char *)(uintptr_t)m->stored[i].files[k].text);
		}
	}
	free(m);
}

static struct stored *find(struct memcontexts *m, const char *uri)
{
	for (size_t i = 0; uri && i < m->n; i++)
		if (strcmp(m->stored[i].uri, uri) == 0)
			return &m->stored[i];
	return NULL;
}

static bool same(const struct stored *s, const struct memcontext_file *files, size_t n)
{
	bool all = s->n == n;

	for (size_t i = 0; all && i < n; i++)
		all = strcmp(s->files[i].path, files[i].path) == 0 &&
		      strcmp(s->files[i].text, files[i].text) == 0;
	return all;
}

const char *memcontexts_add(struct memcontexts *m, const struct memcontext_file *files, size_t n)
{
	struct stored *s;

	for (size_t i = 0; i < m->n; i++)
		if (same(&m->stored[i], files, n))
			return m->stored[i].uri;
	s = must(m->n < CONTEXTS_MAX && n <= FILES_MAX ? &m->stored[m->n++] : NULL);
	snprintf(s->uri, sizeof(s->uri), "https://blobs.example/context-%zu/", m->n);
	for (; s->n < n; s->n++)
		s->files[s->n] = (struct memcontext_file){must(strdup(files[s->n].path)),
							  must(strdup(files[s->n].text))};
	return s->uri;
}

static char *read_text(const struct upload_file *file)
{
	char *text = must(calloc(1, TEXT_MAX + 1));
	ssize_t n = file->size <= TEXT_MAX ? pread(file->fd, text, file->size, 0) : -1;

	if (n >= 0 && (uint64_t)n == file->size)
		return text;
	free(text);
	return NULL;
}

int memcontexts_upload(struct memcontexts *m, const struct upload_file *files, size_t n,
		       const char **uri)
{
	struct memcontext_file *texts = must(calloc(n + 1, sizeof(*texts)));
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++) {
		texts[i] = (struct memcontext_file){files[i].path, read_text(&files[i])};
		rc = texts[i].text ? 0 : -EIO;
	}
	if (!rc)
		*uri = memcontexts_add(m, texts, n);
	for (size_t i = 0; i < n; i++)
		free((char *)(uintptr_t)texts[i].text);
	free(texts);
	return rc;
}

struct context *memcontexts_list(struct memcontexts *m, const char *uri)
{
	struct context_file files[FILES_MAX];
	const struct stored *s = find(m, uri);
	struct context fields = {.uri = uri, .files = files};

	for (size_t i = 0; s && i < s->n; i++)
		files[i] = (struct context_file){.path = s->files[i].path,
						 .path_len = strlen(s->files[i].path),
						 .size = strlen(s->files[i].text),
						 .etag = "1"};
	fields.n_files = s ? s->n : 0;
	return s ? must(context_new(&fields)) : NULL;
}

const char *memcontexts_text(struct memcontexts *m, const char *uri, const char *path)
{
	const struct stored *s = find(m, uri);

	for (size_t i = 0; s && i < s->n; i++)
		if (strcmp(s->files[i].path, path) == 0)
			return s->files[i].text;
	return NULL;
}
