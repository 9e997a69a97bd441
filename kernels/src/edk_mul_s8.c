#include "edk_mul_s8.h"

#include "edk_check.h"
#include "edk_scale.h"

static edk_status check(const edk_mul_params *p, const int8_t *input1, const int8_t *input2, const int8_t *output)
{
    if (p == NULL || input1 == NULL || input2 == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (p->height < 1 || p->width < 1 || p->channels < 1 || p->out.channel != 1 || (p->in1.channel | 1) != 1 ||
        (p->in2.channel | 1) != 1) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_is_code(p->zero_point1) || !edk_is_code(p->zero_point2) || !edk_is_code(p->out_zero_point) ||
        !edk_limits_ok(p->act_min, p->act_max) || p->shift > 14 || p->shift < -31) {
        return EDK_ERROR_RANGE;
    }
    return EDK_OK;
}

static void multiply_run(const edk_mul_params *p, const int8_t *input1, const int8_t *input2, int8_t *output)
{
    for (int i = 0; i < p->channels; i++) {
        const int32_t product = (*input1 - p->zero_point1) * (*input2 - p->zero_point2);
        output[i] = edk_clip_code(edk_scale(product, p->multiplier, p->shift), p->out_zero_point, p->act_min,
                                  p->act_max);
        input1 += p->in1.channel;
        input2 += p->in2.channel;
    }
}

edk_status edk_mul_s8(const edk_mul_params *params, const int8_t *input1, const int8_t *input2, int8_t *output)
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
