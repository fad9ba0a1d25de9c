// SPDX-License-Identifier: ISC
// How lines begin: accepted on the listener, or connected to the peer's address again and again; or either through a broker.
#ifndef CRENEL_COURIER_DIAL_H
#define CRENEL_COURIER_DIAL_H

#include "courier/courier.h"

enum status dial_begin(struct courier *courier) MUST_USE;
// Of who connects, when a line ended: at once if the name has another address, else after a while.
void dial_later(struct courier *courier);

#endif
