/* The first page of seqd. SPDX-License-Identifier: MIT */
"use strict";
