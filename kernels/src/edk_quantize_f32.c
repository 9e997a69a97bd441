#include "edk_quantize_f32.h"

#include "edk_border.h"
#include "edk_check.h"
#include "edk_scale.h"

#define EDK_FAR 1e6f /* beyond all codes, whatever the zero point; far inside int32 */

/* round(x) + zero_point, ties away from zero; x - whole is exact, since a float with a fraction is below 2^24. */
static inline int32_t code_of(float real, float scale, int32_t zero_point)
{
    const float x = real / scale;
    if (x >= EDK_FAR || x <= -EDK_FAR) {
        return x > 0.0f ? INT32_MAX : INT32_MIN;
    }
    if (x != x) {
        return zero_point;
    }
    const int32_t whole = (int32_t)x;
    const float rest = x - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f) + zero_point;
}

edk_status edk_quantize_f32(const edk_quantize_params *params, const float *input, void *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_quantize_params *p = params;
    if (!edk_view_ok(&p->in) || !edk_view_ok(&p->out) || !edk_same_size(&p->in, &p->out)) {
        return EDK_ERROR_SHAPE;
    }
    const int wide = p->out_type == EDK_INT16;
    const int32_t low = edk_lowest(p->out_type), high = edk_highest(p->out_type);
    if ((!wide && p->out_type != EDK_INT8) || !edk_is_code_of(p->zero_point, p->out_type) || !(p->scale > 0.0f)) {
        return EDK_ERROR_RANGE;
    }
    for (int y = 0; y < p->in.height; y++) {
        for (int x = 0; x < p->in.width; x++) {
            const float *from = input + (ptrdiff_t)y * p->in.row_stride + (ptrdiff_t)x * p->in.pixel_stride;
            const ptrdiff_t to = (ptrdiff_t)y * p->out.row_stride + (ptrdiff_t)x * p->out.pixel_stride;
            for (int c = 0; c < p->in.channels; c++) {
                const int32_t code = edk_clip(code_of(from[c], p->scale, p->zero_point), low, high);
                if (wide) {
                    ((int16_t *)output)[to + c] = (int16_t)code;
                } else {
                    ((int8_t *)output)[to + c] = (int8_t)code;
                }
            }
        }
    }
    return EDK_OK;
}
