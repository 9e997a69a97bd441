/* The requantizations of int16 activations, and the checks of their parameters. */
#ifndef EDK_WIDE_SCALE_H
#define EDK_WIDE_SCALE_H

#include "edk_check.h"
#include "edk_scale.h"
#include "edk_wide.h"

/* The bias of a channel, from its two words. */
static inline int64_t edk_wide_bias(const int32_t *words, int channel)
{
    const uint64_t low = (uint32_t)words[2 * (size_t)channel], high = (uint32_t)words[2 * (size_t)channel + 1];
    return (int64_t)(high << 32 | low);
}

/* An accumulator below 2^47 times a multiplier below 2^15 fits int64 with the rounding. */
static inline int16_t edk_wide_code(const edk_requant_wide *r, int channel, int64_t accumulator)
{
    const int right = 15 - r->shift[channel];
    const int64_t scaled = (accumulator * r->multiplier[channel] + (INT64_C(1) << (right - 1))) >> right;
    return (int16_t)edk_clip((int32_t)(uint32_t)(uint64_t)scaled, r->act_min, r->act_max);
}

/* clip(x) for the operators that scale in 32 bits; zero points are 0. */
static inline int16_t edk_clip_wide(int32_t x, int32_t low, int32_t high)
{
    return (int16_t)edk_clip(x, low, high);
}

static inline int edk_wide_steps_ok(int height, int width, int channels, const edk_steps *in1, const edk_steps *in2,
                                    const edk_steps *out)
{
    return height >= 1 && width >= 1 && channels >= 1 && out->channel == 1 && (in1->channel | 1) == 1 &&
           (in2->channel | 1) == 1;
}

#endif
