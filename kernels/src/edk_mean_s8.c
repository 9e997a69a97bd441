#include "edk_mean_s8.h"

#include "edk_check.h"
#include "edk_scale.h"

edk_status edk_mean_s8(const edk_mean_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_mean_params *p = params;
    if (p->outer < 1 || p->count < 1 || p->inner < 1 || p->count > (1 << 23)) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_is_code(p->zero_point) || !edk_is_code(p->out_zero_point) || p->shift < -31 || p->shift > 31 ||
        p->multiplier < 0) {
        return EDK_ERROR_RANGE;
    }
    for (int32_t outer = 0; outer < p->outer; outer++, input += (ptrdiff_t)p->count * p->inner) {
        for (int32_t inner = 0; inner < p->inner; inner++) {
            const int8_t *code = input + inner;
            int32_t sum = 0;
            for (int32_t i = 0; i < p->count; i++, code += p->inner) {
                sum += *code;
            }
            sum -= p->count * p->zero_point;
            *output++ = edk_clip_code(edk_scale(sum, p->multiplier, p->shift), p->out_zero_point, -128, 127);
        }
    }
    return EDK_OK;
}
