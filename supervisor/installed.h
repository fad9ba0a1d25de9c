// SPDX-License-Identifier: ISC
// What is installed in the state folder: compiled systems, and images under their digests.
#ifndef CRENEL_SUPERVISOR_INSTALLED_H
#define CRENEL_SUPERVISOR_INSTALLED_H

#include "supervisor/supervisor.h"

// Is that a system that one of the keys signed, and not below the security version that served here? Then *view is
// of the bytes, which outlive it; else why says what is wrong.
enum status installed_open(struct supervisor *s, const uint8_t *bytes, size_t size, struct system_view *view,
                           char why[512]) MUST_USE;

// The image of a unikernel as a sealed memfd; else why says what is wrong.
enum status installed_image(struct supervisor *s, const struct system_unikernel *unikernel, int *fd, char why[512]) MUST_USE;

// Removes the images that the system which serves does not have.
void installed_remove_images(struct supervisor *s);

#endif
