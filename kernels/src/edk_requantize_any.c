#include "edk_requantize_any.h"

#include "edk_border.h"
#include "edk_check.h"
#include "edk_scale.h"

static int range_ok(const edk_requantize_any_params *p)
{
    return edk_is_integer_type(p->in_type) && edk_is_integer_type(p->out_type) && p->in_type != EDK_UINT8 &&
           p->out_type != EDK_UINT8 && edk_is_code_of(p->zero_point, p->in_type) &&
           edk_is_code_of(p->out_zero_point, p->out_type) && p->shift >= -31 && p->shift <= 14;
}

edk_status edk_requantize_any(const edk_requantize_any_params *params, const void *input, void *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_requantize_any_params *p = params;
    if (!edk_view_ok(&p->in) || !edk_view_ok(&p->out) || !edk_same_size(&p->in, &p->out)) {
        return EDK_ERROR_SHAPE;
    }
    if (!range_ok(p)) {
        return EDK_ERROR_RANGE;
    }
    const int32_t low = edk_lowest(p->out_type) - p->out_zero_point,
                  high = edk_highest(p->out_type) - p->out_zero_point;
    for (int y = 0; y < p->in.height; y++) {
        for (int x = 0; x < p->in.width; x++) {
            const ptrdiff_t from = (ptrdiff_t)y * p->in.row_stride + (ptrdiff_t)x * p->in.pixel_stride;
            const ptrdiff_t to = (ptrdiff_t)y * p->out.row_stride + (ptrdiff_t)x * p->out.pixel_stride;
            for (int c = 0; c < p->in.channels; c++) {
                const int32_t offset = edk_code_at(input, from + c, p->in_type) - p->zero_point;
                const int32_t code =
                    edk_clip(edk_scale(offset, p->multiplier, p->shift), low, high) + p->out_zero_point;
                if (p->out_type == EDK_INT16) {
                    ((int16_t *)output)[to + c] = (int16_t)code;
                } else {
                    ((int8_t *)output)[to + c] = (int8_t)code;
                }
            }
        }
    }
    return EDK_OK;
}
