/* Source: ARM, Semihosting for AArch32 and AArch64, operations and their parameter blocks. */
#include "semihosting.h"

#include <stdint.h>
#include <string.h>

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_FLEN = 0x0c,
    SYS_EXIT_EXTENDED = 0x20
};
enum { MODE_RB = 1, MODE_WB = 5 };
enum { STOPPED_APPLICATION_EXIT = 0x20026 };

static int32_t call(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

int semihosting_open(const char *name, int write)
{
    const uint32_t block[3] = {(uint32_t)(uintptr_t)name, write ? MODE_WB : MODE_RB, (uint32_t)strlen(name)};
    return (int)call(SYS_OPEN, block);
}

/* Both calls return the number of bytes that were not transferred. */
int semihosting_read(int handle, void *data, size_t bytes)
{
    const uint32_t block[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)data, (uint32_t)bytes};
    return call(SYS_READ, block) == 0;
}

int semihosting_write(int handle, const void *data, size_t bytes)
{
    const uint32_t block[3] = {(uint32_t)handle, (uint32_t)(uintptr_t)data, (uint32_t)bytes};
    return call(SYS_WRITE, block) == 0;
}

long semihosting_length(int handle)
{
    const uint32_t block[1] = {(uint32_t)handle};
    return (long)call(SYS_FLEN, block);
}

void semihosting_close(int handle)
{
    const uint32_t block[1] = {(uint32_t)handle};
    (void)call(SYS_CLOSE, block);
}

void semihosting_print(const char *text)
{
    (void)call(SYS_WRITE0, text);
    (void)call(SYS_WRITE0, "\n");
}

void semihosting_exit(int status)
{
    const uint32_t block[2] = {STOPPED_APPLICATION_EXIT, (uint32_t)status};
    (void)call(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}
