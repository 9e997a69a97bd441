/* ADD and SUB of one run of elements in plain C. */
#ifndef EDK_ADD_PLAIN_H
#define EDK_ADD_PLAIN_H

#include "edk_add_s8.h"
#include "edk_scale.h"

/* |code - zero point| << 20 is below 2^28, so that nothing overflows. */
static inline void edk_add_run(const edk_add_params *p, const int8_t *input1, const int8_t *input2, int8_t *output,
                               int32_t count, int sign)
{
    for (int32_t i = 0; i < count; i++) {
        const int32_t a = (*input1 - p->zero_point1) * (1 << 20), b = (*input2 - p->zero_point2) * (1 << 20);
        const int32_t sum = edk_scale(a, p->multiplier1, p->shift1) + sign * edk_scale(b, p->multiplier2, p->shift2);
        output[i] =
            edk_clip_code(edk_scale(sum, p->out_multiplier, p->out_shift), p->out_zero_point, p->act_min, p->act_max);
        input1 += p->in1.channel;
        input2 += p->in2.channel;
    }
}

#endif
