/* The requantization of edk_types.h in scalar C, for any operands. */
#ifndef EDK_SCALE_H
#define EDK_SCALE_H

#include "edk_types.h"

/* Shifts of negative numbers: every compiler for these targets shifts arithmetically; checked here. */
typedef char edk_needs_arithmetic_shift[((-1) >> 1) == -1 ? 1 : -1];

/* (a * b + 2^30) >> 31; no saturation is needed since b > -2^31. */
static inline int32_t edk_high_mul(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* x / 2^exponent, ties away from zero; exponent 0 .. 31.
 * (x + half - (x < 0)) >> exponent: a tie below zero loses 1 and falls to the next lower number. */
static inline int32_t edk_rounding_shift(int32_t x, int exponent)
{
    if (exponent == 0) {
        return x;
    }
    return (int32_t)(((int64_t)x + (INT64_C(1) << (exponent - 1)) - (x < 0)) >> exponent);
}

/* x * multiplier * 2^(shift - 31) with double rounding. */
static inline int32_t edk_scale(int32_t x, int32_t multiplier, int shift)
{
    if (shift > 0) {
        x = (int32_t)((uint32_t)x << shift);
        return edk_high_mul(x, multiplier);
    }
    return edk_rounding_shift(edk_high_mul(x, multiplier), -shift);
}

static inline int32_t edk_clip(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : (x > high ? high : x);
}

/* clip(x + zero_point): the sum is taken in 64 bits, since x may be near the ends of int32. */
static inline int8_t edk_clip_code(int32_t x, int32_t zero_point, int32_t low, int32_t high)
{
    const int64_t code = (int64_t)x + zero_point;
    return (int8_t)(code < low ? low : (code > high ? high : code));
}

#endif
