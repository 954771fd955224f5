#include "tests/model/regressions.h"

const struct regression regressions[] = {
	{"a draft becomes a version",
	 "mkdraft e0 d0 p1; fill e0 d0 n0 i1 t1 c1 p1; publish e0 d0 x3 p1;"},
};

const size_t regressions_count = sizeof(regressions) / sizeof(*regressions);
