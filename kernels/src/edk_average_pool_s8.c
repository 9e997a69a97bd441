#include "edk_average_pool_s8.h"

#include "edk_pool.h"
#include "edk_scale.h"

#define BLOCK 16 /* channels at a time */

static int8_t rounded(int32_t sum, int32_t count, int low, int high)
{
    const int32_t average = (sum < 0 ? sum - count / 2 : sum + count / 2) / count;
    return (int8_t)edk_clip(average, low, high);
}

static void pool_block(const edk_pool_params *p, const int8_t *input, int8_t *out, edk_pool_span span, int count)
{
    int32_t sums[BLOCK] = {0};
    for (int y = span.y0; y < span.y1; y++) {
        const int8_t *codes = input + (ptrdiff_t)y * p->in.row_stride + (ptrdiff_t)span.x0 * p->in.pixel_stride;
        for (int x = span.x0; x < span.x1; x++, codes += p->in.pixel_stride) {
            for (int c = 0; c < count; c++) {
                sums[c] += codes[c];
            }
        }
    }
    const int32_t elements = (span.y1 - span.y0) * (span.x1 - span.x0);
    for (int c = 0; c < count; c++) {
        out[c] = rounded(sums[c], elements, p->act_min, p->act_max);
    }
}

edk_status edk_average_pool_s8(const edk_pool_params *params, const int8_t *input, int8_t *output)
{
    const edk_status status = edk_pool_check(params, input, output);
    if (status != EDK_OK) {
        return status;
    }
    for (int y = 0; y < params->out.height; y++) {
        for (int x = 0; x < params->out.width; x++) {
            const edk_pool_span span = edk_pool_window(params, y, x);
            int8_t *out = output + (ptrdiff_t)y * params->out.row_stride + (ptrdiff_t)x * params->out.pixel_stride;
            for (int c = 0; c < params->out.channels; c += BLOCK) {
                const int left = params->out.channels - c;
                pool_block(params, input + c, out + c, span, left < BLOCK ? left : BLOCK);
            }
        }
    }
    return EDK_OK;
}
