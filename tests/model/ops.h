/*
 * ops - the operations that sequences are made of: drawn at random, written as text, read from it,
 * and carried out.
 *
 * As text an operation is its name and its arguments, a letter and a number each, and ends with a
 * semicolon: "mkdraft e0 d1; tag e0 v2 t1 k0;". The letter says what the number counts (ops.c);
 * numbers mean whatever is there at the moment, so a sequence stays meaningful when parts of it are
 * left out.
 */
#ifndef MLENVFS_TESTS_OPS_H
#define MLENVFS_TESTS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/model/model.h"

enum { OP_ARGS = 10, OPS_MAX = 256, OP_TEXT = 128 };

struct op {
	int kind;
	int args[OP_ARGS];
};

struct ops {
	struct op list[OPS_MAX];
	size_t n;
};

/* A sequence of n operations; the same seed gives the same. */
void ops_draw(struct ops *ops, uint64_t seed, size_t n);

/* As text; returns out. */
const char *op_text(const struct op *op, char out[OP_TEXT]);

/* From text. False when it is none. */
bool ops_parse(struct ops *ops, const char *text);

/* What every sequence begins with. */
void ops_begin(struct model *m);

void op_run(struct model *m, const struct op *op);

#endif
