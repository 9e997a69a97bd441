/* ADD and SUB of one run of elements with the DSP extension. */
#ifndef EDK_ADD_DSP_H
#define EDK_ADD_DSP_H

#include "edk_add_s8.h"
#include "edk_dsp.h"
#include "edk_scale.h"

/* Double-rounding scale by at most 1. */
typedef struct {
    int32_t multiplier;
    int32_t exponent; /* -shift */
    int32_t half;     /* 2^(exponent - 1), or 0 */
    int32_t tie;      /* all ones if there is a second rounding */
} edk_add_scale;

static inline edk_add_scale edk_add_scale_of(int32_t multiplier, int shift)
{
    const edk_add_scale s = {multiplier, -shift, shift < 0 ? 1 << (-shift - 1) : 0, shift < 0 ? -1 : 0};
    return s;
}

/* Twice the number to be scaled, below 2^30 so that the sum with half stays in int32: see edk_requant_dsp.h. */
static inline int32_t edk_add_scaled(int32_t twice, const edk_add_scale *s)
{
    const int32_t x = edk_smmulr(twice, s->multiplier);
    return (x + ((x >> 31) & s->tie) + s->half) >> s->exponent;
}

static inline void edk_add_run(const edk_add_params *p, const int8_t *input1, const int8_t *input2, int8_t *output,
                               int32_t count, int sign)
{
    const edk_add_scale scale1 = edk_add_scale_of(p->multiplier1, p->shift1);
    const edk_add_scale scale2 = edk_add_scale_of(p->multiplier2, p->shift2);
    const edk_add_scale out = edk_add_scale_of(p->out_multiplier, p->out_shift);
    const int32_t step1 = p->in1.channel, step2 = p->in2.channel, low = p->act_min, high = p->act_max;
    const int32_t zero1 = p->zero_point1, zero2 = p->zero_point2, zero = p->out_zero_point;
    for (int8_t *end = output + count; output < end; input1 += step1, input2 += step2) {
        const int32_t a = edk_add_scaled((*input1 - zero1) * (1 << 21), &scale1);
        const int32_t b = edk_add_scaled((*input2 - zero2) * (1 << 21), &scale2);
        const int32_t sum = edk_add_scaled(2 * (sign > 0 ? a + b : a - b), &out);
        *output++ = (int8_t)edk_clip(sum + zero, low, high);
    }
}

#endif
