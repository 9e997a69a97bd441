#include "edk_average_pool_s16.h"

#include "edk_pool.h"
#include "edk_wide_scale.h"

static int16_t pooled(const edk_pool_params *p, const int16_t *input, edk_pool_span span)
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

#include "edk_pool_s16.h"

edk_status edk_average_pool_s16(const edk_pool_params *params, const int16_t *input, int16_t *output)
{
    return pool(params, input, output, UINT16_MAX);
}
