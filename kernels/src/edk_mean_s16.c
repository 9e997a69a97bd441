#include "edk_mean_s16.h"

#include "edk_wide_scale.h"

edk_status edk_mean_s16(const edk_mean_params *params, const int16_t *input, int16_t *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_mean_params *p = params;
    if (p->outer < 1 || p->count < 1 || p->inner < 1 || p->count > UINT16_MAX) {
        return EDK_ERROR_SHAPE;
    }
    if (p->zero_point != 0 || p->out_zero_point != 0 || p->shift < -31 || p->shift > 31 || p->multiplier < 0) {
        return EDK_ERROR_RANGE;
    }
    for (int32_t outer = 0; outer < p->outer; outer++, input += (ptrdiff_t)p->count * p->inner) {
        for (int32_t inner = 0; inner < p->inner; inner++) {
            const int16_t *code = input + inner;
            int32_t sum = 0;
            for (int32_t i = 0; i < p->count; i++, code += p->inner) {
                sum += *code;
            }
            *output++ = edk_clip_wide(edk_scale(sum, p->multiplier, p->shift), INT16_MIN, INT16_MAX);
        }
    }
    return EDK_OK;
}
