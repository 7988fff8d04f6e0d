/* extra_tensor: a checkpoint's weights once more, with one tensor that its
 * architecture does not know, or with a prefix in front of all names.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EXTRA_TENSOR_H
#define SEQD_EXTRA_TENSOR_H

/* extra_tensor_save: the model.safetensors of folder `from` as fp32 into that
 * of `to` (which may be the same), every name behind `prefix`, and a vector
 * `extra` of two numbers (NULL: none). 0 or -1. */
int extra_tensor_save(const char *from, const char *to, const char *prefix,
                      const char *extra);

#endif
