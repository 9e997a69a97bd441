/* memcpy and memset without a C library. Compiled with -fno-builtin, or the loops would become calls of themselves.
 * Copies of the kernels are short: a pixel's channels, a row of a window. */
#include <stdint.h>
#include <string.h>

typedef uint64_t __attribute__((aligned(1), may_alias)) block;

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    uint8_t *restrict target = to;
    const uint8_t *restrict source = from;
    for (; count >= sizeof(block); count -= sizeof(block), target += sizeof(block), source += sizeof(block)) {
        *(block *)(void *)target = *(const block *)(const void *)source;
    }
    for (; count > 0; count--) {
        *target++ = *source++;
    }
    return to;
}

void *memset(void *to, int byte, size_t count)
{
    uint8_t *target = to;
    const block all = (uint8_t)byte * UINT64_C(0x0101010101010101);
    for (; count >= sizeof(block); count -= sizeof(block), target += sizeof(block)) {
        *(block *)(void *)target = all;
    }
    for (; count > 0; count--) {
        *target++ = (uint8_t)byte;
    }
    return to;
}
