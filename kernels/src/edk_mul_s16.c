#include "edk_mul_s16.h"

#include "edk_wide_scale.h"

static edk_status check(const edk_mul_params *p, const int16_t *input1, const int16_t *input2, const int16_t *output)
{
    if (p == NULL || input1 == NULL || input2 == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_wide_steps_ok(p->height, p->width, p->channels, &p->in1, &p->in2, &p->out)) {
        return EDK_ERROR_SHAPE;
    }
    if (p->zero_point1 != 0 || p->zero_point2 != 0 || p->out_zero_point != 0 || p->act_min > p->act_max ||
        p->shift > 14 || p->shift < -31) {
        return EDK_ERROR_RANGE;
    }
    return EDK_OK;
}

static void multiply_run(const edk_mul_params *p, const int16_t *input1, const int16_t *input2, int16_t *output)
{
    for (int i = 0; i < p->channels; i++) {
        output[i] = edk_clip_wide(edk_scale(*input1 * *input2, p->multiplier, p->shift), p->act_min, p->act_max);
        input1 += p->in1.channel;
        input2 += p->in2.channel;
    }
}

edk_status edk_mul_s16(const edk_mul_params *params, const int16_t *input1, const int16_t *input2, int16_t *output)
{
    const edk_status status = check(params, input1, input2, output);
    if (status != EDK_OK) {
        return status;
    }
    for (int y = 0; y < params->height; y++) {
        for (int x = 0; x < params->width; x++) {
            multiply_run(params, input1 + (ptrdiff_t)y * params->in1.row + (ptrdiff_t)x * params->in1.pixel,
                         input2 + (ptrdiff_t)y * params->in2.row + (ptrdiff_t)x * params->in2.pixel,
                         output + (ptrdiff_t)y * params->out.row + (ptrdiff_t)x * params->out.pixel);
        }
    }
    return EDK_OK;
}
