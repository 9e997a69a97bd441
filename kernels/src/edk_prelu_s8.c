#include "edk_prelu_s8.h"

#include "edk_broadcast_loop.h"
#include "edk_check.h"
#include "edk_scale.h"

static void slope_run(const void *params, const void *inputs, const void *slopes, void *outputs)
{
    const edk_prelu_params *p = (const edk_prelu_params *)params;
    const int8_t *input = (const int8_t *)inputs, *slope = (const int8_t *)slopes;
    int8_t *output = (int8_t *)outputs;
    const int step = p->sizes.in1.channel, slope_step = p->sizes.in2.channel;
    for (int i = 0; i < p->sizes.channels; i++, input += step, slope += slope_step) {
        const int32_t x = *input - p->zero_point;
        const int32_t scaled = x >= 0
                                   ? edk_scale(x, p->multiplier, p->shift)
                                   : edk_scale(x * (*slope - p->slope_zero_point), p->slope_multiplier, p->slope_shift);
        output[i] = edk_clip_code(scaled, p->out_zero_point, -128, 127);
    }
}

edk_status edk_prelu_s8(const edk_prelu_params *params, const int8_t *input, const int8_t *slope, int8_t *output)
{
    if (params == NULL || input == NULL || slope == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_prelu_params *p = params;
    if (!edk_broadcast_ok(&p->sizes)) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_is_code(p->zero_point) || !edk_is_code(p->slope_zero_point) || !edk_is_code(p->out_zero_point) ||
        p->shift < -31 || p->shift > 14 || p->slope_shift < -31 || p->slope_shift > 14) {
        return EDK_ERROR_RANGE;
    }
    edk_broadcast_each(&p->sizes, slope_run, p, 1, input, slope, output);
    return EDK_OK;
}
