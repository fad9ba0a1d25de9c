// SPDX-License-Identifier: ISC
// Listening TCP sockets for the gateways.
#include "supervisor/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_BACKLOG 128

enum status listener_open(const char *address, int *fd)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address || (size_t)(colon - address) >= sizeof host)
        return STATUS_MALFORMED;
    size_t length = (size_t)(colon - address);
    const char *begin = address;
    if (address[0] == '[' && address[length - 1] == ']') {
        begin++;
        length -= 2;
    }
    snprintf(host, sizeof host, "%.*s", (int)length, begin);
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return STATUS_MALFORMED;
    int yes = 1;
    int socket_fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    enum status status = STATUS_SYSTEM;
    if (socket_fd >= 0 &&
        setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
        bind(socket_fd, found->ai_addr, found->ai_addrlen) == 0 &&
        listen(socket_fd, LISTENER_BACKLOG) == 0)
        status = STATUS_OK;
    int error = errno;
    freeaddrinfo(found);
    if (status != STATUS_OK) {
        if (socket_fd >= 0)
            close(socket_fd);
        errno = error;
        return status;
    }
    *fd = socket_fd;
    return STATUS_OK;
}
