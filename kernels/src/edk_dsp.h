/* Instructions of the Armv7E-M DSP extension (Cortex-M4, M7, M33, ...) that C does not express. */
#ifndef EDK_DSP_H
#define EDK_DSP_H

#include <stdint.h>
#include <string.h>

/* Bytes 0 and 2 of x, sign-extended into the two halves. */
static inline uint32_t edk_sxtb16(uint32_t x)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(x));
    return pair;
}

/* Bytes 1 and 3 of x, sign-extended into the two halves. */
static inline uint32_t edk_sxtb16_odd(uint32_t x)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(x));
    return pair;
}

/* sum + low half of a * low half of b + high half of a * high half of b. */
static inline int32_t edk_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* (a * b + 2^31) >> 32. */
static inline int32_t edk_smmulr(int32_t a, int32_t b)
{
    int32_t result;
    __asm__("smmulr %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

/* Clip to -128 .. 127. */
static inline int32_t edk_ssat8(int32_t x)
{
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(x));
    return result;
}

/* The larger of each of four signed bytes. */
static inline uint32_t edk_max4(uint32_t a, uint32_t b)
{
    uint32_t larger;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(larger) : "r"(a), "r"(b));
    return larger;
}

/* Four codes as one word, from any address. */
static inline uint32_t edk_load4(const int8_t *codes)
{
    uint32_t word;
    memcpy(&word, codes, 4);
    return word;
}

#endif
