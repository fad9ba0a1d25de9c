// SPDX-License-Identifier: ISC
// The operator's part of a new version: look at the difference, say yes, sign.
//
// What is not more open needs no consent. A security version that goes down is refused whatever anybody says: the
// supervisor would refuse it too. Images lie in the state folder under their digest, so that the old version can
// start although its sources were built anew.
#include "cli/up/install.h"

#include "cli/consent.h"
#include "cli/diff/diff.h"
#include "cli/report.h"
#include "cli/source/policy_checks.h"
#include "cli/state.h"
#include "host/system_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status ask(void)
{
    return consent_ask("this is more open than what is installed, and nobody is there to ask",
                       "look at the difference; if it is meant, run the command again with --yes",
                       "not started: what is installed stays as it is");
}

static enum status consent(const struct install *install, int is_yes)
{
    struct diff diff;
    diff_make(&diff, &install->old, &install->new);
    if (diff.count != 0) {
        report_progress("against what is installed:");
        diff_print(&diff, 1);
    }
    int is_more = diff.counts[DIFF_MORE] != 0;
    diff_clean_up(&diff);
    return !is_more || is_yes ? STATUS_OK : ask();
}

static enum status compare(struct install *install, int is_yes)
{
    char path[PATH_MAX];
    uint32_t version = install->new.view.header->security_version;
    snprintf(path, sizeof path, "%.*s/system.bin", PATH_MAX - 16, install->folder);
    enum status status = policy_system_read(&install->old, path);
    if (status == STATUS_ABSENT)
        return STATUS_OK;
    if (status != STATUS_OK) { // of another version of Crenel, or damaged: what it allowed is not known
        report_progress("what is installed cannot be compared with");
        return is_yes ? STATUS_OK : ask();
    }
    if (version < install->old.view.header->security_version) {
        report_error(install->new.title, 0, "raise security_version: what it fenced off must not come back",
                     "security_version %u is below %u, which is installed", version,
                     install->old.view.header->security_version);
        return STATUS_DENIED;
    }
    return consent(install, is_yes);
}

static enum status images_write(const struct install *install)
{
    char path[PATH_MAX], name[80], digest[65];
    snprintf(path, sizeof path, "%.*s/images", PATH_MAX - 16, install->folder);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        report_error(path, 0, NULL, "cannot make this folder: %s", strerror(errno));
        return STATUS_SYSTEM;
    }
    enum status status = STATUS_OK;
    for (size_t i = 0; i < install->new.view.unikernel_count && status == STATUS_OK; i++) {
        const struct image *image = &install->new.compile->sources[i].image;
        sodium_bin2hex(digest, sizeof digest, install->new.view.unikernels[i].image_digest, 32);
        snprintf(name, sizeof name, "images/%s", digest);
        status = state_write(install->folder, name, image->bytes, image->size, 0600);
    }
    return status;
}

// The bytes are the compiler's own, and their signature is not yet filled.
static uint8_t *bytes_of(const struct install *install) { return install->new.owned->bytes; }

enum status install_prepare(struct install *install, const char *source, const char *name, const char *folder,
                            int is_yes)
{
    char build[80];
    uint8_t secret_key[64];
    *install = (struct install){.folder = folder};
    snprintf(build, sizeof build, "build/%s", name);
    report_progress("compiling %s; images go to %s/", source, build);
    enum status status = policy_system_open(&install->new, source, build, NULL);
    uint64_t state_bytes = status == STATUS_OK ? policy_checks_bytes(&install->new.view) : 0;
    if (state_bytes != 0)
        report_progress("states of keys take %llu KiB of memory in the router", (unsigned long long)(state_bytes + 1023) / 1024);
    if (status == STATUS_OK)
        status = compare(install, is_yes);
    if (status == STATUS_OK)
        status = state_operator_key(folder, secret_key, install->public_path);
    if (status != STATUS_OK)
        return status;
    const struct system_view *new = &install->new.view, *old = &install->old.view;
    system_sign(bytes_of(install), new->size, secret_key);
    sodium_memzero(secret_key, sizeof secret_key);
    install->is_same = old->bytes != NULL && old->size == new->size && memcmp(old->bytes, new->bytes, new->size) == 0;
    return images_write(install);
}

void install_close(struct install *install)
{
    policy_system_close(&install->new);
    policy_system_close(&install->old);
}

enum status install_write(const struct install *install, const char *file)
{
    return state_write(install->folder, file, install->new.view.bytes, install->new.view.size, 0600);
}

enum status install_first(const struct install *install)
{
    char path[PATH_MAX];
    if (install->is_same)
        return STATUS_OK; // perhaps still on trial: then the version before stays at hand
    enum status status = install_write(install, "system.bin");
    // What a replacement that was cut off left: this version was not meant to follow it.
    snprintf(path, sizeof path, "%.*s/system.old", PATH_MAX - 16, install->folder);
    if (status == STATUS_OK && unlink(path) != 0 && errno != ENOENT) {
        report_error(path, 0, NULL, "cannot remove it: %s", strerror(errno));
        return STATUS_SYSTEM;
    }
    return status;
}
