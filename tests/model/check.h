/*
 * check - compares everything that is shown, and everything that the service holds, with the model.
 */
#ifndef MLENVFS_TESTS_CHECK_H
#define MLENVFS_TESTS_CHECK_H

#include "tests/model/model.h"

/* All names, the content of local files, the service's versions and counts; deep: the content of
 * published files and their attributes too. */
void check_all(struct model *m, bool deep);

#endif
