#include "edk_requantize_s8.h"

#include "edk_check.h"
#include "edk_scale.h"

edk_status edk_requantize_s8(const edk_requantize_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_requantize_params *p = params;
    if (!edk_view_ok(&p->in) || !edk_view_ok(&p->out) || !edk_same_size(&p->in, &p->out)) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_is_code(p->zero_point) || !edk_is_code(p->out_zero_point) || p->shift < -31 || p->shift > 22) {
        return EDK_ERROR_RANGE;
    }
    for (int y = 0; y < p->in.height; y++) {
        const int8_t *from = input + (ptrdiff_t)y * p->in.row_stride;
        int8_t *to = output + (ptrdiff_t)y * p->out.row_stride;
        for (int x = 0; x < p->in.width; x++, from += p->in.pixel_stride, to += p->out.pixel_stride) {
            for (int c = 0; c < p->in.channels; c++) {
                const int32_t scaled = edk_scale(from[c] - p->zero_point, p->multiplier, p->shift);
                to[c] = edk_clip_code(scaled, p->out_zero_point, -128, 127);
            }
        }
    }
    return EDK_OK;
}
