// SPDX-License-Identifier: ISC
// An operator's session: lines in, lines out, never blocking. A long reply is made a line at a time as
// the operator takes it; each line is its own look at the database.
#include "store/operator.h"

#include "core/check.h"
#include "store/operator_listing.h"
#include "store/operator_reply.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void operator_open(struct operator_session *session, int fd, uint64_t rights)
{
    memset(session, 0, sizeof *session);
    session->fd = fd;
    session->rights = rights;
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void operator_close(struct operator_session *session)
{
    if (session->fd >= 0)
        close(session->fd);
    session->fd = -1;
}

static enum status receive(struct operator_session *session)
{
    if (session->request_bytes == sizeof session->request)
        return STATUS_CLOSED; // a line longer than any request
    ssize_t got = recv(session->fd, session->request + session->request_bytes,
                       sizeof session->request - session->request_bytes, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? STATUS_AGAIN : STATUS_CLOSED;
    if (got == 0)
        return STATUS_CLOSED;
    session->request_bytes += (size_t)got;
    return STATUS_OK;
}

static enum status transmit(struct operator_session *session)
{
    while (operator_is_writing(session)) {
        ssize_t sent = send(session->fd, session->reply + session->reply_sent,
                            session->reply_bytes - session->reply_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR ? STATUS_AGAIN : STATUS_CLOSED;
        session->reply_sent += (size_t)sent;
    }
    session->reply_bytes = session->reply_sent = 0;
    return STATUS_OK;
}

// Takes one whole line off the request buffer and starts its reply. STATUS_ABSENT: no whole line yet.
static enum status begin_reply(struct operator_session *session, struct store *store,
                               struct router_link *router, int64_t wall_ms)
{
    char *end = memchr(session->request, '\n', session->request_bytes);
    if (end == NULL)
        return STATUS_ABSENT;
    size_t length = (size_t)(end - session->request);
    cJSON *request = cJSON_ParseWithLength(session->request, length);
    enum status status = reply_begin(session, store, router, request, wall_ms);
    cJSON_Delete(request);
    session->request_bytes -= length + 1;
    memmove(session->request, end + 1, session->request_bytes);
    return status;
}

enum status operator_serve(struct operator_session *session, struct store *store,
                           struct router_link *router, int64_t wall_ms)
{
    for (;;) {
        enum status status = STATUS_OK;
        while (session->listing.kind != LISTING_NONE && status == STATUS_OK &&
               sizeof session->reply - session->reply_bytes >= OPERATOR_LINE_BYTES)
            status = reply_next(session, store);
        if (status == STATUS_OK)
            status = transmit(session);
        if (status != STATUS_OK)
            return status;
        if (session->listing.kind != LISTING_NONE)
            continue;
        status = begin_reply(session, store, router, wall_ms);
        if (status == STATUS_ABSENT)
            status = receive(session);
        if (status != STATUS_OK)
            return status;
    }
}
