#include "edk_max_pool_s16.h"

#include "edk_pool.h"
#include "edk_wide_scale.h"

static int16_t largest(const edk_pool_params *p, const int16_t *input, edk_pool_span span)
{
    int32_t best = INT16_MIN;
    for (int y = span.y0; y < span.y1; y++) {
        const int16_t *code = input + (ptrdiff_t)y * p->in.row_stride + (ptrdiff_t)span.x0 * p->in.pixel_stride;
        for (int x = span.x0; x < span.x1; x++, code += p->in.pixel_stride) {
            best = *code > best ? *code : best;
        }
    }
    return edk_clip_wide(best, p->act_min, p->act_max);
}

edk_status edk_max_pool_s16(const edk_pool_params *params, const int16_t *input, int16_t *output)
{
    const edk_pool_params *p = params;
    if (p == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_pool_shape_ok(p)) {
        return EDK_ERROR_SHAPE;
    }
    if (p->act_min > p->act_max) {
        return EDK_ERROR_RANGE;
    }
    for (int y = 0; y < p->out.height; y++) {
        for (int x = 0; x < p->out.width; x++) {
            const edk_pool_span span = edk_pool_window(p, y, x);
            int16_t *out = output + (ptrdiff_t)y * p->out.row_stride + (ptrdiff_t)x * p->out.pixel_stride;
            for (int c = 0; c < p->out.channels; c++) {
                out[c] = largest(p, input + c, span);
            }
        }
    }
    return EDK_OK;
}
