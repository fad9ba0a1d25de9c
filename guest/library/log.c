// SPDX-License-Identifier: ISC
// Log records, counted refusals, and the last words of an event that fails.
#include "guest/library/guest.h"

// Formats into a LOG record; text over the limit is cut and ends in "...".
static void log_list(uint16_t level, uint16_t code, const char *format, va_list arguments)
{
    char text[ABI_LOG_BYTES_MAX + 1];
    size_t length = text_format_list(text, sizeof text, format, arguments);

    if (length > ABI_LOG_BYTES_MAX) {
        length = ABI_LOG_BYTES_MAX;
        memcpy(text + length - 3, "...", 3);
    }
    struct abi_log *log = guest_record(ABI_LOG, sizeof *log + ABI_ALIGN8(length), "log");
    log->level = level;
    log->code = code;
    log->text_bytes = (uint32_t)length;
    guest_copy((uint8_t *)(log + 1), text, length);
}

void fail(const char *format, ...)
{
    struct guest *guest = guest_state();
    va_list arguments;

    if (!guest->is_failing) { // else the log itself failed
        guest->is_failing = true;
        va_start(arguments, format);
        log_list(ABI_LOG_ERROR, 0, format, arguments);
        va_end(arguments);
    }
    __builtin_trap();
}

void count_refusal(unsigned code, const char *text)
{
    struct abi_log *log;
    size_t length = strlen(text);

    if (length > ABI_LOG_BYTES_MAX)
        length = ABI_LOG_BYTES_MAX;
    log = guest_record(ABI_LOG, sizeof *log + ABI_ALIGN8(length), "count_refusal");
    log->level = ABI_LOG_REFUSAL;
    log->code = (uint16_t)code;
    log->text_bytes = (uint32_t)length;
    guest_copy((uint8_t *)(log + 1), text, length);
}

void log_debug(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_list(ABI_LOG_DEBUG, 0, format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_list(ABI_LOG_INFO, 0, format, arguments);
    va_end(arguments);
}

void log_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_list(ABI_LOG_WARNING, 0, format, arguments);
    va_end(arguments);
}

void log_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_list(ABI_LOG_ERROR, 0, format, arguments);
    va_end(arguments);
}
