// SPDX-License-Identifier: ISC
// From an application folder to an image.
#ifndef CRENEL_CLI_BUILD_H
#define CRENEL_CLI_BUILD_H

#include "core/image.h"

// Builds the unikernel in `folder` (unikernel.yaml, sources) into image_path; work files go to a folder
// beside it (image_path with .img replaced by .d/), symbols to NAME.debug beside it. Does nothing when
// all inputs are unchanged. Errors are reported.
enum status build_unikernel(const char *folder, const char *image_path) MUST_USE;

// Reads, checks and digests an image file; *bytes is 8-byte aligned, the caller frees it. Errors are reported.
enum status image_read(const char *path, uint8_t **bytes, struct image *image,
                       uint8_t digest[32]) MUST_USE;

// What became of `unikernel.yaml`: just its name (for default output paths). Errors are reported.
enum status build_name(const char *folder, char name[MANIFEST_NAME_BYTES]) MUST_USE;

#endif
