// SPDX-License-Identifier: ISC
// Files that are an interface of the kernel: /proc, /sys.
#ifndef CRENEL_HOST_KERNEL_FILE_H
#define CRENEL_HOST_KERNEL_FILE_H

// Gives the kernel one value in one write. 0, or -1 with errno.
int kernel_file_write(const char *path, const char *text);

#endif
