/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What src/lib.rs lays out as well. */
#include "rendezvous.h"

const u64 meeting_size = sizeof(struct meeting);
const u64 place_size = sizeof(struct place);
const u64 written_size = sizeof(struct written);
const u64 shape_size = sizeof(struct shape);
