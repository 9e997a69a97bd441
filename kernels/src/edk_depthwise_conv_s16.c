#include "edk_depthwise_conv_s16.h"

#include "edk_wide_conv.h"

#define BLOCK 16 /* channels at a time */

/* sums[i] += codes[(channel0 + i) / repeat] * weights[i] */
static void add_tap(const int16_t *codes, const int8_t *weights, int repeat, int channel0, int count, int32_t *sums)
{
    if (repeat == 1 && count == BLOCK) {
        for (int i = 0; i < BLOCK; i++) { /* a constant number of turns: unrolled or vectorized */
            sums[i] += codes[channel0 + i] * weights[i];
        }
        return;
    }
    if (repeat == 1) {
        for (int i = 0; i < count; i++) {
            sums[i] += codes[channel0 + i] * weights[i];
        }
        return;
    }
    for (int i = 0; i < count; i++) {
        sums[i] += codes[(channel0 + i) / repeat] * weights[i];
    }
}

/* Add 32-bit sums to the 64-bit ones and begin anew. */
static void flush(int32_t *sums, int64_t *totals, int count)
{
    for (int i = 0; i < count; i++) {
        totals[i] += sums[i];
        sums[i] = 0;
    }
}

/* Output pixel `v`, channels channel0 .. channel0 + count - 1. */
static void pixel(const edk_conv_s16_params *p, const int16_t *input, int16_t *out, const edk_wide_window *v,
                  int channel0, int count)
{
    const edk_window *w = &p->window;
    const int repeat = p->out.channels / p->in.channels;
    int64_t totals[BLOCK];
    int32_t sums[BLOCK] = {0};
    int taps = 0;
    for (int i = 0; i < count; i++) {
        totals[i] = edk_wide_bias(p->bias, channel0 + i);
    }
    for (int ky = v->ky0; ky < v->ky1; ky++) {
        const int16_t *row = input + (ptrdiff_t)(v->y0 + ky * w->dilation_height) * p->in.row_stride;
        for (int kx = v->kx0; kx < v->kx1; kx++) {
            const int8_t *weights = p->weights + (ptrdiff_t)(ky * w->kernel_width + kx) * p->out.channels + channel0;
            const int16_t *codes = row + (ptrdiff_t)(v->x0 + kx * w->dilation_width) * p->in.pixel_stride;
            add_tap(codes, weights, repeat, channel0, count, sums);
            if (++taps == EDK_WIDE_RUN) {
                flush(sums, totals, count);
                taps = 0;
            }
        }
    }
    flush(sums, totals, count);
    for (int i = 0; i < count; i++) {
        out[channel0 + i] = edk_wide_code(&p->requant, channel0 + i, totals[i]);
    }
}

edk_status edk_depthwise_conv_s16(const edk_conv_s16_params *params, const int16_t *input, int16_t *output)
{
    const edk_status status = edk_wide_conv_check(params, input, output);
    if (status != EDK_OK) {
        return status;
    }
    const edk_conv_s16_params *p = params;
    if (p->out.channels % p->in.channels != 0) {
        return EDK_ERROR_SHAPE;
    }
    for (int y = 0; y < p->out.height; y++) {
        int16_t *out = output + (ptrdiff_t)y * p->out.row_stride;
        for (int x = 0; x < p->out.width; x++, out += p->out.pixel_stride) {
            const edk_wide_window v = edk_wide_window_at(p, y, x);
            for (int c = 0; c < p->out.channels; c += BLOCK) {
                const int left = p->out.channels - c;
                pixel(p, input, out, &v, c, left < BLOCK ? left : BLOCK);
            }
        }
    }
    return EDK_OK;
}
