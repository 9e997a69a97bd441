/* ADD and SUB: one body, the sign is a constant of the caller. */
#ifndef EDK_ADD_CORE_H
#define EDK_ADD_CORE_H

#include "edk_add_s8.h"
#include "edk_check.h"
#include "edk_target.h"

#if defined(EDK_USE_MVE)
#include "edk_add_mve.h"
#elif defined(EDK_USE_DSP)
#include "edk_add_dsp.h"
#else
#include "edk_add_plain.h"
#endif

static inline edk_status edk_add_check(const edk_add_params *p, const int8_t *input1, const int8_t *input2,
                                       const int8_t *output)
{
    if (p == NULL || input1 == NULL || input2 == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (p->height < 1 || p->width < 1 || p->channels < 1 || p->out.channel != 1 || (p->in1.channel | 1) != 1 ||
        (p->in2.channel | 1) != 1) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_is_code(p->zero_point1) || !edk_is_code(p->zero_point2) || !edk_is_code(p->out_zero_point) ||
        !edk_limits_ok(p->act_min, p->act_max) || p->shift1 > 0 || p->shift2 > 0 || p->out_shift > 0 ||
        p->shift1 < -31 || p->shift2 < -31 || p->out_shift < -31) {
        return EDK_ERROR_RANGE;
    }
    return EDK_OK;
}

/* Whether an operand is one run over the whole image. */
static inline int edk_steps_dense(const edk_steps *s, int width, int channels)
{
    return s->channel == 1 && s->pixel == channels && s->row == width * channels;
}

static inline edk_status edk_add_any(const edk_add_params *p, const int8_t *input1, const int8_t *input2,
                                     int8_t *output, int sign)
{
    const edk_status status = edk_add_check(p, input1, input2, output);
    if (status != EDK_OK) {
        return status;
    }
    if (edk_steps_dense(&p->in1, p->width, p->channels) && edk_steps_dense(&p->in2, p->width, p->channels) &&
        edk_steps_dense(&p->out, p->width, p->channels)) {
        edk_add_run(p, input1, input2, output, p->height * p->width * p->channels, sign);
        return EDK_OK;
    }
    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            edk_add_run(p, input1 + (ptrdiff_t)y * p->in1.row + (ptrdiff_t)x * p->in1.pixel,
                        input2 + (ptrdiff_t)y * p->in2.row + (ptrdiff_t)x * p->in2.pixel,
                        output + (ptrdiff_t)y * p->out.row + (ptrdiff_t)x * p->out.pixel, p->channels, sign);
        }
    }
    return EDK_OK;
}

#endif
