// SPDX-License-Identifier: ISC
#ifndef NUMBERS_H
#define NUMBERS_H
// "good", or which case of number parsing went wrong.
const char *numbers_check(void);
#endif
