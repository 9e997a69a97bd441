#include "edk_max_pool_s16.h"

#include "edk_pool.h"
#include "edk_wide_scale.h"

static int16_t pooled(const edk_pool_params *p, const int16_t *input, edk_pool_span span)
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

#include "edk_pool_s16.h"

edk_status edk_max_pool_s16(const edk_pool_params *params, const int16_t *input, int16_t *output)
{
    return pool(params, input, output, INT32_MAX);
}
