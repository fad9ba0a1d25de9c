// SPDX-License-Identifier: ISC
// crenel build DIR [-o FILE]
#include "cli/build/build.h"
#include "cli/command.h"
#include "cli/report.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cmd_build(int argc, char **argv)
{
    const char *folder = NULL, *output = NULL;
    char name[MANIFEST_NAME_BYTES], path[PATH_MAX];

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
            output = argv[++i];
        else if (argv[i][0] != '-' && folder == NULL)
            folder = argv[i];
        else
            return EXIT_USAGE;
    }
    if (folder == NULL)
        return EXIT_USAGE;
    if (output == NULL) {
        if (build_name(folder, name) != STATUS_OK)
            return EXIT_FAILED;
        snprintf(path, sizeof path, "build/%s.img", name);
        output = path;
    }
    if (build_unikernel(folder, output) != STATUS_OK)
        return EXIT_FAILED;

    uint8_t *bytes, digest[32];
    struct image image;
    if (image_read(output, &bytes, &image, digest) != STATUS_OK)
        return EXIT_FAILED;
    printf("%s %s  %s  %zu bytes  sha256:", image.manifest.header->name,
           image.manifest.header->release, output, image.size);
    for (size_t i = 0; i < sizeof digest; i++)
        printf("%02x", digest[i]);
    putchar('\n');
    free(bytes);
    return EXIT_OK;
}
