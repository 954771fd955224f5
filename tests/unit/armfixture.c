#include "tests/unit/armfixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/clock.h"
#include "client/log.h"

enum { DEADLINE_S = 20 };

static void make_scopes(struct arm_fixture *f)
{
	char base[128];
	struct scope w = {.kind = SCOPE_WORKSPACE,
			  .name = "w1",
			  .subscription = "s1",
			  .resource_group = "g1",
			  .writable = true};
	struct scope r = {.kind = SCOPE_REGISTRY,
			  .name = "r1",
			  .subscription = "rs",
			  .resource_group = "rg",
			  .base_url = base,
			  .writable = true};

	snprintf(base, sizeof(base), "%s/mferp/managementfrontend", stub_base(f->stub));
	f->workspace = scope_new(&w);
	f->registry = scope_new(&r);
	assert_non_null(f->workspace);
	assert_non_null(f->registry);
}

int arm_fixture_setup(void **state)
{
	struct arm_fixture *f = calloc(1, sizeof(*f));
	struct arm_conf conf = {.subscription = "s1"};

	assert_non_null(f);
	log_set_level(LOG_LEVEL_ERROR);
	f->stub = stub_start(NULL);
	assert_int_equal(credential_static_new("tok-secret", 10, &f->credential, NULL), 0);
	make_scopes(f);
	call_init(&f->call, clock_mono() + DEADLINE_S * NS_PER_S, CALL_INTERACTIVE);
	arm_fixture_remake(f, &conf);
	*state = f;
	return 0;
}

int arm_fixture_teardown(void **state)
{
	struct arm_fixture *f = *state;

	source_free(f->source);
	stub_stop(f->stub);
	credential_free(f->credential);
	scope_unref(f->workspace);
	scope_unref(f->registry);
	call_destroy(&f->call);
	free(f);
	return 0;
}

void arm_fixture_remake(struct arm_fixture *f, struct arm_conf *conf)
{
	source_free(f->source);
	f->source = NULL;
	conf->endpoint = stub_base(f->stub);
	conf->credential = f->credential;
	conf->backoff = 5 * NS_PER_MS;
	assert_int_equal(arm_source_new(conf, &f->source, &f->err), 0);
}

void arm_fixture_deadline(struct arm_fixture *f, int64_t ns)
{
	call_destroy(&f->call);
	call_init(&f->call, clock_mono() + ns, CALL_INTERACTIVE);
}
