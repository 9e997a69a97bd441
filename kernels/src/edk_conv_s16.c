#include "edk_conv_s16.h"

#include "edk_wide_conv.h"

#define FILTERS 4 /* at a time: a code is read once for all of them */

/* sums[f] += codes times filter f; `taps`: from a filter to the next. Runs are summed in 32 bits. */
static void dot4(const int16_t *codes, const int8_t *weights, int32_t taps, int32_t count, int64_t sums[FILTERS])
{
    while (count > 0) {
        const int32_t run = count < EDK_WIDE_RUN ? count : EDK_WIDE_RUN;
        const int8_t *w1 = weights + taps, *w2 = w1 + taps, *w3 = w2 + taps;
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (int32_t i = 0; i < run; i++) {
            const int32_t code = codes[i];
            s0 += code * weights[i];
            s1 += code * w1[i];
            s2 += code * w2[i];
            s3 += code * w3[i];
        }
        sums[0] += s0;
        sums[1] += s1;
        sums[2] += s2;
        sums[3] += s3;
        codes += run;
        weights += run;
        count -= run;
    }
}

static void dot(const int16_t *codes, const int8_t *weights, int32_t taps, int32_t count, int filters, int64_t *sums)
{
    if (filters == FILTERS) {
        dot4(codes, weights, taps, count, sums);
        return;
    }
    for (int f = 0; f < filters; f++) {
        sums[f] = edk_wide_dot(codes, weights + (ptrdiff_t)f * taps, count, sums[f]);
    }
}

/* sums[f] += window times filter f. Where columns lie beside each other a row of the window is one run of codes. */
static void add_window(const edk_conv_s16_params *p, const int16_t *input, const edk_wide_window *v,
                       const int8_t *weights, int32_t taps, int filters, int64_t *sums)
{
    const edk_window *w = &p->window;
    const int channels = p->in.channels;
    for (int ky = v->ky0; ky < v->ky1; ky++) {
        const int8_t *row_weights = weights + (ptrdiff_t)ky * w->kernel_width * channels;
        const int16_t *row = input + (ptrdiff_t)(v->y0 + ky * w->dilation_height) * p->in.row_stride;
        if (v->joined) {
            dot(row + (ptrdiff_t)(v->x0 + v->kx0) * channels, row_weights + (ptrdiff_t)v->kx0 * channels, taps,
                (v->kx1 - v->kx0) * channels, filters, sums);
            continue;
        }
        for (int kx = v->kx0; kx < v->kx1; kx++) {
            const int16_t *codes = row + (ptrdiff_t)(v->x0 + kx * w->dilation_width) * p->in.pixel_stride;
            dot(codes, row_weights + (ptrdiff_t)kx * channels, taps, channels, filters, sums);
        }
    }
}

/* All channels of output pixel `v`. */
static void convolve_pixel(const edk_conv_s16_params *p, const int16_t *input, int16_t *out, const edk_wide_window *v)
{
    const int32_t taps = p->window.kernel_height * p->window.kernel_width * p->in.channels;
    const int8_t *weights = p->weights;
    for (int o = 0; o < p->out.channels; o += FILTERS, weights += (ptrdiff_t)FILTERS * taps) {
        const int left = p->out.channels - o, filters = left < FILTERS ? left : FILTERS;
        int64_t sums[FILTERS];
        for (int f = 0; f < filters; f++) {
            sums[f] = edk_wide_bias(p->bias, o + f);
        }
        add_window(p, input, v, weights, taps, filters, sums);
        for (int f = 0; f < filters; f++) {
            out[o + f] = edk_wide_code(&p->requant, o + f, sums[f]);
        }
    }
}

edk_status edk_conv_s16(const edk_conv_s16_params *params, const int16_t *input, int16_t *output)
{
    const edk_status status = edk_wide_conv_check(params, input, output);
    if (status != EDK_OK) {
        return status;
    }
    const edk_conv_s16_params *p = params;
    for (int y = 0; y < p->out.height; y++) {
        int16_t *out = output + (ptrdiff_t)y * p->out.row_stride;
        for (int x = 0; x < p->out.width; x++, out += p->out.pixel_stride) {
            const edk_wide_window v = edk_wide_window_at(p, y, x);
            convolve_pixel(p, input, out, &v);
        }
    }
    return EDK_OK;
}
