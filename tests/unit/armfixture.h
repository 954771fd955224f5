/*
 * armfixture - a source (client/arm.h) against a stub server, for tests.
 */
#ifndef MLENVFS_TESTS_ARMFIXTURE_H
#define MLENVFS_TESTS_ARMFIXTURE_H

#include "client/arm.h"
#include "tests/unit/stubserver.h"

#define SUB "/subscriptions/s1"
#define GRP SUB "/resourceGroups/g1"
#define PRV "/providers/Microsoft.MachineLearningServices"
#define WS  GRP PRV "/workspaces/w1"
#define REG "/mferp/managementfrontend/subscriptions/rs/resourceGroups/rg" PRV "/registries/r1"

struct arm_fixture {
	struct stub *stub;
	struct credential *credential;
	struct source *source;
	struct scope *workspace;
	struct scope *registry; /* "r1", on the stub's data plane */
	struct call call;       /* a deadline of 20 s */
	struct err err;
};

/* cmocka's setup and teardown; *state is a struct arm_fixture. */
int arm_fixture_setup(void **state);
int arm_fixture_teardown(void **state);

/* Ends the source and makes another one; conf's endpoint and credential are filled in. */
void arm_fixture_remake(struct arm_fixture *f, struct arm_conf *conf);

/* Gives the call a new deadline. */
void arm_fixture_deadline(struct arm_fixture *f, int64_t ns);

#endif
