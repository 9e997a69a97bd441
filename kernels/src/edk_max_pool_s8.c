#include "edk_max_pool_s8.h"

#include <string.h>

#include "edk_pool.h"
#include "edk_scale.h"
#include "edk_target.h"

#if defined(EDK_USE_MVE)
#include <arm_mve.h>
#elif defined(EDK_USE_DSP)
#include "edk_dsp.h"
#endif

/* best = max(best, codes), element by element. */
static void take_larger(int8_t *best, const int8_t *codes, int count)
{
#if defined(EDK_USE_MVE)
    for (; count > 0; count -= 16, best += 16, codes += 16) {
        const mve_pred16_t mask = vctp8q((uint32_t)count);
        vstrbq_p_s8(best, vmaxq_s8(vldrbq_z_s8(best, mask), vldrbq_z_s8(codes, mask)), mask);
    }
#elif defined(EDK_USE_DSP)
    for (; count >= 4; count -= 4, best += 4, codes += 4) {
        const uint32_t larger = edk_max4(edk_load4(best), edk_load4(codes));
        memcpy(best, &larger, 4);
    }
#endif
    for (int c = 0; c < count; c++) {
        if (codes[c] > best[c]) {
            best[c] = codes[c];
        }
    }
}

static void pool_pixel(const edk_pool_params *p, const int8_t *input, int8_t *out, edk_pool_span span)
{
    const int channels = p->in.channels;
    memset(out, -128, (size_t)channels);
    for (int y = span.y0; y < span.y1; y++) {
        const int8_t *codes = input + (ptrdiff_t)y * p->in.row_stride + (ptrdiff_t)span.x0 * p->in.pixel_stride;
        for (int x = span.x0; x < span.x1; x++, codes += p->in.pixel_stride) {
            take_larger(out, codes, channels);
        }
    }
    if (p->act_min == -128 && p->act_max == 127) {
        return;
    }
    for (int c = 0; c < channels; c++) {
        out[c] = (int8_t)edk_clip(out[c], p->act_min, p->act_max);
    }
}

edk_status edk_max_pool_s8(const edk_pool_params *params, const int8_t *input, int8_t *output)
{
    const edk_status status = edk_pool_check(params, input, output);
    if (status != EDK_OK) {
        return status;
    }
    for (int y = 0; y < params->out.height; y++) {
        for (int x = 0; x < params->out.width; x++) {
            int8_t *out = output + (ptrdiff_t)y * params->out.row_stride + (ptrdiff_t)x * params->out.pixel_stride;
            pool_pixel(params, input, out, edk_pool_window(params, y, x));
        }
    }
    return EDK_OK;
}
