#include "edk_average_pool_s16.h"

#include "edk_pool.h"
#include "edk_wide_scale.h"

static int16_t average(const edk_pool_params *p, const int16_t *input, edk_pool_span span)
{
    const int32_t count = (span.y1 - span.y0) * (span.x1 - span.x0);
    int32_t sum = 0;
    for (int y = span.y0; y < span.y1; y++) {
        const int16_t *code = input + (ptrdiff_t)y * p->in.row_stride + (ptrdiff_t)span.x0 * p->in.pixel_stride;
        for (int x = span.x0; x < span.x1; x++, code += p->in.pixel_stride) {
            sum += *code;
        }
    }
    /* Ties away from zero; 65535 codes and half of that stay below 2^31 in absolute value. */
    return edk_clip_wide((sum < 0 ? sum - count / 2 : sum + count / 2) / count, p->act_min, p->act_max);
}

edk_status edk_average_pool_s16(const edk_pool_params *params, const int16_t *input, int16_t *output)
{
    const edk_pool_params *p = params;
    if (p == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_pool_shape_ok(p) || p->window.kernel_height * p->window.kernel_width > UINT16_MAX) {
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
                out[c] = average(p, input + c, span);
            }
        }
    }
    return EDK_OK;
}
