/*
 * check - compares everything that is shown, and everything that the service holds, with the model.
 */
#ifndef MLENVFS_TESTS_CHECK_H
#define MLENVFS_TESTS_CHECK_H

#include "tests/model/model.h"

/*
 * The names, the files that are touched, the service's versions and counts; deep: every file and
 * attribute, and what is archived.
 */
void check_all(struct model *m, bool deep);

/*
 * What stat says of files that were saved: the same until somebody writes to them, and the same
 * time in the version that was made of them.
 */
void check_stamps(struct model *m, struct menv *env, struct mversion *v);

#endif
