/* ADD and SUB of one run of elements with MVE, four at a time. */
#ifndef EDK_ADD_MVE_H
#define EDK_ADD_MVE_H

#include <arm_mve.h>

#include "edk_add_s8.h"

/* Double-rounding scale by at most 1: see edk_requant_mve.h. */
static inline int32x4_t edk_add_scaled(int32x4_t x, int32_t multiplier, int32_t shift)
{
    x = vqrdmulhq_n_s32(x, multiplier);
    if (shift < 0) {
        x = vaddq_s32(x, vshrq_n_s32(x, 31));
    }
    return vrshlq_n_s32(x, shift);
}

/* Codes of an operand, minus its zero point, shifted left by 20 bits. */
static inline int32x4_t edk_add_codes(const int8_t *codes, int is_broadcast, int32_t zero_point, mve_pred16_t mask)
{
    const int32x4_t x = is_broadcast ? vdupq_n_s32(*codes) : vldrbq_z_s32(codes, mask);
    return vshlq_n_s32(vsubq_n_s32(x, zero_point), 20);
}

static inline void edk_add_run(const edk_add_params *p, const int8_t *input1, const int8_t *input2, int8_t *output,
                               int32_t count, int sign)
{
    const int32_t multiplier1 = p->multiplier1, multiplier2 = p->multiplier2, out_multiplier = p->out_multiplier;
    const int32_t shift1 = p->shift1, shift2 = p->shift2, out_shift = p->out_shift;
    const int32x4_t low = vdupq_n_s32(p->act_min), high = vdupq_n_s32(p->act_max);
    for (; count > 0; count -= 4, output += 4, input1 += 4 * p->in1.channel, input2 += 4 * p->in2.channel) {
        const mve_pred16_t mask = vctp32q((uint32_t)count);
        const int32x4_t x = edk_add_codes(input1, p->in1.channel == 0, p->zero_point1, mask);
        const int32x4_t y = edk_add_codes(input2, p->in2.channel == 0, p->zero_point2, mask);
        const int32x4_t a = edk_add_scaled(x, multiplier1, shift1), b = edk_add_scaled(y, multiplier2, shift2);
        int32x4_t sum = sign > 0 ? vaddq_s32(a, b) : vsubq_s32(a, b);
        sum = vaddq_n_s32(edk_add_scaled(sum, out_multiplier, out_shift), p->out_zero_point);
        vstrbq_p_s32(output, vminq_s32(vmaxq_s32(sum, low), high), mask);
    }
}

#endif
