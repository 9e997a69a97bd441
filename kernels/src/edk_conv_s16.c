#include "edk_conv_s16.h"

#include "edk_wide_conv.h"

/* bias + window (y, x) times one filter. Where columns lie beside each other a row of the window is one run of codes. */
static int64_t filter_sum(const edk_conv_s16_params *p, const int16_t *input, const edk_wide_window *v,
                          const int8_t *weights, int64_t sum)
{
    const edk_window *w = &p->window;
    const int channels = p->in.channels;
    for (int ky = v->ky0; ky < v->ky1; ky++) {
        const int8_t *row_weights = weights + (ptrdiff_t)ky * w->kernel_width * channels;
        const int16_t *row = input + (ptrdiff_t)(v->y0 + ky * w->dilation_height) * p->in.row_stride;
        if (v->joined) {
            sum = edk_wide_dot(row + (ptrdiff_t)(v->x0 + v->kx0) * channels, row_weights + v->kx0 * channels,
                               (v->kx1 - v->kx0) * channels, sum);
            continue;
        }
        for (int kx = v->kx0; kx < v->kx1; kx++) {
            const int16_t *codes = row + (ptrdiff_t)(v->x0 + kx * w->dilation_width) * p->in.pixel_stride;
            sum = edk_wide_dot(codes, row_weights + kx * channels, channels, sum);
        }
    }
    return sum;
}

edk_status edk_conv_s16(const edk_conv_s16_params *params, const int16_t *input, int16_t *output)
{
    const edk_status status = edk_wide_conv_check(params, input, output);
    if (status != EDK_OK) {
        return status;
    }
    const edk_conv_s16_params *p = params;
    const int32_t taps = p->window.kernel_height * p->window.kernel_width * p->in.channels;
    for (int y = 0; y < p->out.height; y++) {
        int16_t *out = output + (ptrdiff_t)y * p->out.row_stride;
        for (int x = 0; x < p->out.width; x++, out += p->out.pixel_stride) {
            const edk_wide_window v = edk_wide_window_at(p, y, x);
            const int8_t *weights = p->weights;
            for (int o = 0; o < p->out.channels; o++, weights += taps) {
                const int64_t sum = filter_sum(p, input, &v, weights, edk_wide_bias(p->bias, o));
                out[o] = edk_wide_code(&p->requant, o, sum);
            }
        }
    }
    return EDK_OK;
}
