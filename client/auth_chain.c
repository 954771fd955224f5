#include "client/auth_chain.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "client/log.h"

enum { REASON_SHOWN = 150 /* bytes of each way's reason in the text of the whole */ };

struct chain {
	struct auth_source base;
	const char *advice;
	struct auth_source *ways[AUTH_CHAIN_MAX];
	bool tool[AUTH_CHAIN_MAX];
	size_t n;
	atomic_size_t winner; /* index + 1; 0: none yet */
};

static struct chain *chain_of(struct auth_source *s)
{
	return (struct chain *)s;
}

static void chain_free(struct auth_source *s)
{
	struct chain *c = chain_of(s);

	for (size_t i = 0; i < c->n; i++)
		auth_source_free(c->ways[i]);
	free(c);
}

/* "name: reason", of which no more than fits. */
static void add_reason(struct buf *reasons, const char *name, const char *why)
{
	size_t n = strnlen(why, REASON_SHOWN);

	while (n && ((unsigned char)why[n] & 0xc0) == 0x80)
		n--;
	buf_addf(reasons, "%s%s: %.*s", reasons->len ? "; " : "", name, (int)n, why);
}

static bool goes_on(const struct chain *c, size_t i, int rc)
{
	if (rc == AUTH_UNAVAILABLE)
		return true;
	return c->tool[i] && rc != -ECANCELED && rc != -ENOMEM;
}

static int walk(struct chain *c, const char *scope, struct call *call, struct auth_token *out,
		struct err *e)
{
	_cleanup_buf_ struct buf reasons = BUF_INIT(ERR_MSG_MAX);
	int rc;

	for (size_t i = 0; i < c->n; i++) {
		struct err why = ERR_INIT;

		rc = auth_source_get(c->ways[i], scope, call, out, &why);
		if (!rc) {
			c->winner = i + 1;
			log_info("op=token msg=\"signed in by %s\"", c->ways[i]->name);
			return 0;
		}
		if (!goes_on(c, i, rc))
			return err_set(e, rc, "%s: %s", c->ways[i]->name, err_text(&why, rc));
		log_debug("op=token way=%s msg=\"%s\"", c->ways[i]->name, err_text(&why, rc));
		add_reason(&reasons, c->ways[i]->name, err_text(&why, rc));
		rc = call_check(call);
		if (rc)
			return err_set(e, rc, "no time is left for signing in (%s)",
				       buf_str(&reasons));
	}
	return err_set(e, -EACCES, "not signed in (%s)%s", buf_str(&reasons), c->advice);
}

static int chain_get(struct auth_source *s, const char *scope, struct call *call,
		     struct auth_token *out, struct err *e)
{
	struct chain *c = chain_of(s);
	size_t winner = c->winner;
	int rc;

	if (winner) {
		rc = auth_source_get(c->ways[winner - 1], scope, call, out, e);
		if (!goes_on(c, winner - 1, rc))
			return rc ? err_prefix(e, rc, "%s: ", c->ways[winner - 1]->name) : 0;
		c->winner = 0;
	}
	return walk(c, scope, call, out, e);
}

static const struct auth_source_ops chain_ops = {.get = chain_get, .free = chain_free};

int auth_chain_new(const char *name, const char *advice, struct auth_source **out, struct err *e)
{
	struct chain *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, -ENOMEM, "no memory for signing in");
	c->base = (struct auth_source){.ops = &chain_ops, .name = name};
	c->advice = advice;
	*out = &c->base;
	return 0;
}

int auth_chain_add(struct auth_source *chain, struct auth_source *s, bool tool)
{
	struct chain *c = chain_of(chain);

	if (c->n == AUTH_CHAIN_MAX) {
		auth_source_free(s);
		return -E2BIG;
	}
	c->tool[c->n] = tool;
	c->ways[c->n++] = s;
	return 0;
}

const char *auth_chain_winner(struct auth_source *chain)
{
	struct chain *c = chain_of(chain);
	size_t winner = c->winner;

	return winner ? c->ways[winner - 1]->name : NULL;
}

/* ---- a way that is not there ---- */

struct missing {
	struct auth_source base;
	char why[];
};

static int missing_get(struct auth_source *s, const char *scope, struct call *call,
		       struct auth_token *out, struct err *e)
{
	(void)scope;
	(void)call;
	(void)out;
	return err_set(e, AUTH_UNAVAILABLE, "%s", ((struct missing *)s)->why);
}

static void missing_free(struct auth_source *s)
{
	free(s);
}

static const struct auth_source_ops missing_ops = {.get = missing_get, .free = missing_free};

int auth_missing_new(const char *name, const char *why, struct auth_source **out)
{
	size_t n = strlen(why) + 1;
	struct missing *m = malloc(sizeof(*m) + n);

	if (!m)
		return -ENOMEM;
	m->base = (struct auth_source){.ops = &missing_ops, .name = name};
	memcpy(m->why, why, n);
	*out = &m->base;
	return 0;
}
