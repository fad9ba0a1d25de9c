// SPDX-License-Identifier: ISC
// Starts crenel-tender for one unikernel alone, in the place of supervisor and router.
#ifndef CRENEL_CLI_RUN_TENDER_H
#define CRENEL_CLI_RUN_TENDER_H

#include "core/image.h"
#include "host/channel.h"
#include "proto/link.h"

#include <sys/types.h>

#define RUN_CONNECTIONS_MAX 16u // each has an instance, of lifetime connection, until the run ends

struct run_config {
    const char *image_path;
    const struct image *image;
    const uint8_t *digest;
    const char *configuration;
    size_t configuration_bytes;
    uint32_t deadline_ms;
    uint8_t isolation; // enum manifest_isolation that the run asks for
};

struct run_tender {
    pid_t pid;
    int control_fd, kvm_fd;
    struct channel link;
    _Alignas(8) uint8_t inbox[CHANNEL_PACKET_BYTES]; // of the link
};

// Starts the tender that lies beside this program and waits for its HELLO. Errors are reported.
enum status run_tender_start(struct run_tender *tender, const struct run_config *config) MUST_USE;

// Ends it and waits for its end.
void run_tender_stop(struct run_tender *tender);

// The compiled system that such a tender is given: one unikernel, no flows. The caller frees it.
uint8_t *run_system(const struct run_config *config, size_t *size);

#endif
