/* The body of Put Block List. Whatever is not exactly such a list is refused, DTDs first of all. */
#include "emulator/blobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <expat.h>

#include "client/cleanup.h"

enum {
	BLOCKS_MAX = 50000,
	XML_MAX = 16 * 1024 * 1024, /* 50,000 ids of 88 characters in tags are 7 MiB */
	REFS_FIRST = 64,
};

struct parse {
	XML_Parser parser;
	int depth; /* 0 outside, 1 in BlockList, 2 in one of its elements */
	struct block_ref *refs;
	size_t n;
	size_t cap;
	size_t id_len; /* of the element that is being read */
	int error;
};

static void stop(struct parse *p, int error)
{
	if (!p->error)
		p->error = error;
	XML_StopParser(p->parser, XML_FALSE);
}

static int refs_grow(struct parse *p)
{
	size_t cap = p->cap ? p->cap * 2 : REFS_FIRST;
	struct block_ref *refs;

	if (p->n < p->cap)
		return 0;
	refs = reallocarray(p->refs, cap, sizeof(*refs));
	if (!refs)
		return -ENOMEM;
	p->refs = refs;
	p->cap = cap;
	return 0;
}

static void start_block(struct parse *p, const char *name)
{
	static const char *const names[] = {
		[BLOCK_LATEST] = "Latest",
		[BLOCK_COMMITTED] = "Committed",
		[BLOCK_UNCOMMITTED] = "Uncommitted",
	};
	size_t i = 0;

	while (i < sizeof(names) / sizeof(names[0]) && strcmp(name, names[i]) != 0)
		i++;
	if (i == sizeof(names) / sizeof(names[0])) {
		stop(p, -EBADMSG);
	} else if (p->n >= BLOCKS_MAX) {
		stop(p, -E2BIG);
	} else if (refs_grow(p)) {
		stop(p, -ENOMEM);
	} else {
		memset(&p->refs[p->n], 0, sizeof(p->refs[0]));
		p->refs[p->n].from = (enum block_from)i;
		p->id_len = 0;
	}
}

static void XMLCALL on_start(void *arg, const char *name, const char **attributes)
{
	struct parse *p = arg;

	(void)attributes;
	if (p->depth == 1)
		start_block(p, name);
	else if (p->depth > 1 || strcmp(name, "BlockList") != 0)
		stop(p, -EBADMSG);
	p->depth++;
}

static void XMLCALL on_end(void *arg, const char *name)
{
	struct parse *p = arg;

	(void)name;
	if (p->depth == 2) {
		if (p->id_len == 0)
			stop(p, -EBADMSG);
		p->n++;
	}
	p->depth--;
}

static void XMLCALL on_text(void *arg, const char *text, int len)
{
	struct parse *p = arg;
	int i;

	for (i = 0; i < len && !p->error; i++) {
		/* No id has white space; some writers indent. */
		if (strchr(" \t\r\n", text[i]))
			continue;
		if (p->depth != 2 || p->id_len >= BLOCK_ID_SIZE - 1)
			stop(p, -EBADMSG);
		else
			p->refs[p->n].id[p->id_len++] = text[i];
	}
}

static void XMLCALL on_doctype(void *arg, const char *name, const char *system, const char *public,
			       int internal)
{
	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	stop(arg, -EBADMSG);
}

static int run(struct parse *p, const char *xml, size_t len)
{
	XML_SetUserData(p->parser, p);
	XML_SetElementHandler(p->parser, on_start, on_end);
	XML_SetCharacterDataHandler(p->parser, on_text);
	XML_SetStartDoctypeDeclHandler(p->parser, on_doctype);
	if (XML_Parse(p->parser, xml, (int)len, XML_TRUE) == XML_STATUS_OK)
		return p->error;
	if (p->error)
		return p->error;
	return XML_GetErrorCode(p->parser) == XML_ERROR_NO_MEMORY ? -ENOMEM : -EBADMSG;
}

int blobs_blocklist_parse(const char *xml, size_t len, struct block_ref **refs, size_t *n,
			  struct err *e)
{
	struct parse p = {0};
	int rc;

	if (len > XML_MAX)
		return err_set(e, -EBADMSG, "the block list is too large");
	p.parser = XML_ParserCreate(NULL);
	if (!p.parser)
		return err_set(e, -ENOMEM, "out of memory");
	rc = run(&p, xml ? xml : "", len);
	XML_ParserFree(p.parser);
	if (rc) {
		free(p.refs);
		return err_set(e, rc, "the block list can't be read");
	}
	*refs = p.refs;
	*n = p.n;
	return 0;
}
