// SPDX-License-Identifier: ISC
// Asking a supervisor.
#include "cli/client.h"

#include "cli/printable.h"
#include "cli/report.h"
#include "cli/state.h"
#include "host/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REPLY_BYTES_MAX (4u * 1024u * 1024u)

static int connect_to(const char *folder)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control", folder_fd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int is_connected = fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    int error = errno;
    close(folder_fd);
    if (!is_connected && fd >= 0)
        close(fd);
    errno = error;
    return is_connected ? fd : -1;
}

// The descriptor, if any, comes with the first byte. What follows the line stays on the connection.
static char *read_reply(int connection, int *fd)
{
    size_t capacity = 65536, used = 0, size = 0;
    char *text = malloc(capacity);
    *fd = -1;
    if (text == NULL || channel_receive_fd(connection, text, 1, &size, fd, 1) != STATUS_OK) {
        free(text);
        return NULL;
    }
    used = size;
    while (memchr(text, '\n', used) == NULL) {
        if (used == capacity - 1) {
            char *larger = capacity < REPLY_BYTES_MAX ? realloc(text, capacity *= 2) : NULL;
            if (larger == NULL)
                break;
            text = larger;
        }
        ssize_t got = recv(connection, text + used, capacity - 1 - used, MSG_PEEK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        const char *end = memchr(text + used, '\n', (size_t)got);
        got = recv(connection, text + used, end != NULL ? (size_t)(end + 1 - text) - used : (size_t)got, 0);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    text[used] = 0;
    return text;
}

static enum status send_line(int connection, const cJSON *request)
{
    char *text = cJSON_PrintUnformatted(request);
    if (text == NULL)
        return STATUS_SYSTEM;
    size_t length = strlen(text);
    text[length++] = '\n';
    ssize_t sent = send(connection, text, length, MSG_NOSIGNAL);
    cJSON_free(text);
    return sent == (ssize_t)length ? STATUS_OK : STATUS_SYSTEM;
}

static enum status refused_connection(const char *folder)
{
    const char *name = strrchr(folder, '/') != NULL ? strrchr(folder, '/') + 1 : folder;
    if (errno == EACCES || errno == EPERM) {
        report_error(folder, 0, "run the command as root or as the user who started the system",
                     "no permission to ask system '%s'", name);
        return STATUS_DENIED;
    }
    report_error(NULL, 0, "start it with `crenel up DIR`", "system '%s' is not running", name);
    return STATUS_ABSENT;
}

enum status client_request(const char *folder, const cJSON *request, cJSON **reply, int *fd,
                           int *connection)
{
    int socket_fd = connect_to(folder), received = -1;
    if (socket_fd < 0)
        return refused_connection(folder);
    char *text = send_line(socket_fd, request) == STATUS_OK ? read_reply(socket_fd, &received) : NULL;
    cJSON *answer = text != NULL ? cJSON_Parse(text) : NULL;
    free(text);
    printable_clean_json(answer);
    enum status status = STATUS_OK;
    if (answer == NULL) {
        report_error(NULL, 0, "see logs/host.log in the state folder", "the supervisor gave no answer");
        status = STATUS_CLOSED;
    } else if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "ok"))) {
        const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "error"));
        const char *mend = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "mend"));
        report_error(NULL, 0, mend, "%s", error != NULL ? error : "the supervisor refused");
        status = error != NULL && strcmp(error, "permission denied") == 0 ? STATUS_DENIED : STATUS_MALFORMED;
    }
    if (received >= 0 && (status != STATUS_OK || fd == NULL)) {
        close(received);
        received = -1;
    }
    if (status != STATUS_OK) {
        cJSON_Delete(answer);
        close(socket_fd);
        return status;
    }
    *reply = answer;
    if (fd != NULL)
        *fd = received;
    if (connection != NULL)
        *connection = socket_fd;
    else
        close(socket_fd);
    return STATUS_OK;
}

enum status client_ask(const char *folder, const char *op, const char *name, const char *value,
                       cJSON **reply, int *fd, int *connection)
{
    cJSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "op", op);
    if (name != NULL)
        cJSON_AddStringToObject(request, name, value);
    enum status status = client_request(folder, request, reply, fd, connection);
    cJSON_Delete(request);
    return status;
}

int client_exit_code(enum status status)
{
    if (status == STATUS_OK)
        return EXIT_OK;
    if (status == STATUS_ABSENT)
        return EXIT_ABSENT;
    return status == STATUS_DENIED ? EXIT_DENIED : EXIT_FAILED;
}
