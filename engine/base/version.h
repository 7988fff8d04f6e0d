/* version: the one place that names the release.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_VERSION_H
#define SEQD_VERSION_H

#define SEQD_VERSION "0.1.0"

#endif
