/* scales: matrices of 8 bits in safetensors. A matrix NAME [rows, columns] of
 * I8 has a tensor NAME.scale of F32 beside it, [rows] or [1, columns]: a number
 * is its byte times the scale of its row, or of its column. Symmetric: -128 is
 * none of the bytes. Which of both serves better follows from what a matrix is:
 * one scale an output (models/README.md).
 *
 * Enforced here: I8 is a matrix and has its scales, of that shape, finite, not
 * below zero, and so that 127 of them are finite. The bytes are looked at when
 * they are read (tensor_fault). A tensor of the name NAME.scale beside anything
 * else is a tensor like others. Internal to weights.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SCALES_H
#define SEQD_SCALES_H

#include "engine/base/err.h"
#include "engine/compute/tensor.h"

#define SCALES_END ".scale"

/* scales_join: of tensors t [*n] with different names, those of I8 without
 * scales get theirs, which leave the list: *n is then smaller, the order of the
 * others is as it was. Returns 0, or ERR_FORMAT with `label` and the tensor,
 * ERR_NOMEM. */
int scales_join(struct tensor *t, int *n, const char *label, struct err *e);

#endif
