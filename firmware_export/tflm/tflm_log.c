/* Messages of TFLite Micro, through semihosting; in place of its own debug_log. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "semihosting.h"

void DebugLog(const char *format, va_list arguments);
int DebugVsnprintf(char *buffer, size_t buffer_bytes, const char *format, va_list arguments);

void DebugLog(const char *format, va_list arguments)
{
    char line[200];
    (void)vsnprintf(line, sizeof line, format, arguments);
    semihosting_print(line);
}

int DebugVsnprintf(char *buffer, size_t buffer_bytes, const char *format, va_list arguments)
{
    return vsnprintf(buffer, buffer_bytes, format, arguments);
}
