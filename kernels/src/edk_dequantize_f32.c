#include "edk_dequantize_f32.h"

#include "edk_border.h"
#include "edk_check.h"

edk_status edk_dequantize_f32(const edk_dequantize_params *params, const void *input, float *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_dequantize_params *p = params;
    if (!edk_view_ok(&p->in) || !edk_view_ok(&p->out) || !edk_same_size(&p->in, &p->out)) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_is_integer_type(p->in_type) || !edk_is_code_of(p->zero_point, p->in_type)) {
        return EDK_ERROR_RANGE;
    }
    for (int y = 0; y < p->in.height; y++) {
        for (int x = 0; x < p->in.width; x++) {
            const ptrdiff_t from = (ptrdiff_t)y * p->in.row_stride + (ptrdiff_t)x * p->in.pixel_stride;
            float *to = output + (ptrdiff_t)y * p->out.row_stride + (ptrdiff_t)x * p->out.pixel_stride;
            for (int c = 0; c < p->in.channels; c++) {
                to[c] = (float)(edk_code_at(input, from + c, p->in_type) - p->zero_point) * p->scale;
            }
        }
    }
    return EDK_OK;
}
