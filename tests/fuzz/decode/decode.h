// SPDX-License-Identifier: ISC
// In the place of the header that the builder generates: what the example's JSON reader needs of it.
#ifndef DECODE_H
#define DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#endif
