/* ADD and SUB of int16: one body, the sign is a constant of the caller. */
#ifndef EDK_WIDE_ADD_H
#define EDK_WIDE_ADD_H

#include "edk_add_s8.h"
#include "edk_wide_scale.h"

static inline edk_status edk_wide_add_check(const edk_add_params *p, const int16_t *input1, const int16_t *input2,
                                            const int16_t *output)
{
    if (p == NULL || input1 == NULL || input2 == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_wide_steps_ok(p->height, p->width, p->channels, &p->in1, &p->in2, &p->out)) {
        return EDK_ERROR_SHAPE;
    }
    if (p->zero_point1 != 0 || p->zero_point2 != 0 || p->out_zero_point != 0 || p->act_min > p->act_max ||
        p->shift1 > 0 || p->shift2 > 0 || p->out_shift > 0 || p->shift1 < -31 || p->shift2 < -31 ||
        p->out_shift < -31) {
        return EDK_ERROR_RANGE;
    }
    return EDK_OK;
}

/* |code| << 15 is at most 2^30; scaled by at most 1/2 each, the sum of two fits. */
static inline void edk_wide_add_run(const edk_add_params *p, const int16_t *input1, const int16_t *input2,
                                    int16_t *output, int sign)
{
    for (int i = 0; i < p->channels; i++) {
        const int32_t a = edk_scale(*input1 * (1 << 15), p->multiplier1, p->shift1);
        const int32_t b = edk_scale(*input2 * (1 << 15), p->multiplier2, p->shift2);
        output[i] = edk_clip_wide(edk_scale(a + sign * b, p->out_multiplier, p->out_shift), p->act_min, p->act_max);
        input1 += p->in1.channel;
        input2 += p->in2.channel;
    }
}

static inline edk_status edk_wide_add(const edk_add_params *p, const int16_t *input1, const int16_t *input2,
                                      int16_t *output, int sign)
{
    const edk_status status = edk_wide_add_check(p, input1, input2, output);
    if (status != EDK_OK) {
        return status;
    }
    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            edk_wide_add_run(p, input1 + (ptrdiff_t)y * p->in1.row + (ptrdiff_t)x * p->in1.pixel,
                             input2 + (ptrdiff_t)y * p->in2.row + (ptrdiff_t)x * p->in2.pixel,
                             output + (ptrdiff_t)y * p->out.row + (ptrdiff_t)x * p->out.pixel, sign);
        }
    }
    return EDK_OK;
}

#endif
