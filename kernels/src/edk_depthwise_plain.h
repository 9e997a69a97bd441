/* Depthwise convolution in plain C, any depth multiplier: blocks of channels, one tap at a time. */
#ifndef EDK_DEPTHWISE_PLAIN_H
#define EDK_DEPTHWISE_PLAIN_H

#include "edk_depthwise_conv_s8.h"
#include "edk_scale.h"

#define EDK_DEPTHWISE_BLOCK 16

/* sums[i] += codes[i / repeat] * weights[i], for count channels; channel0: of the first. */
static inline void edk_depthwise_tap(const int8_t *codes, const int8_t *weights, int repeat, int channel0, int count,
                                     int32_t *sums)
{
    if (repeat == 1 && count == EDK_DEPTHWISE_BLOCK) {
        for (int i = 0; i < EDK_DEPTHWISE_BLOCK; i++) { /* a constant number of turns: vectorized at -O2 */
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

/* Sums of one block of channels of output (y, x). Taps outside read the zero point. */
static inline void edk_depthwise_sums(const edk_depthwise_conv_params *p, const int8_t *input, int y, int x,
                                      int channel0, int count, int32_t *sums)
{
    const edk_window *w = &p->window;
    const int repeat = p->out.channels / p->in.channels;
    const int y0 = y * w->stride_height - w->pad_top, x0 = x * w->stride_width - w->pad_left;
    const int8_t *weights = p->weights + channel0;
    for (int ky = 0; ky < w->kernel_height; ky++) {
        const int iy = y0 + ky * w->dilation_height;
        for (int kx = 0; kx < w->kernel_width; kx++, weights += p->out.channels) {
            const int ix = x0 + kx * w->dilation_width;
            if (iy < 0 || iy >= p->in.height || ix < 0 || ix >= p->in.width) {
                for (int i = 0; i < count; i++) {
                    sums[i] += p->input_zero_point * weights[i];
                }
                continue;
            }
            const int8_t *codes = input + (ptrdiff_t)iy * p->in.row_stride + (ptrdiff_t)ix * p->in.pixel_stride;
            edk_depthwise_tap(codes, weights, repeat, channel0, count, sums);
        }
    }
}

/* Output (y, x), channels channel0 .. channel0 + count - 1, count at most EDK_DEPTHWISE_BLOCK. */
static inline void edk_depthwise_pixel(const edk_depthwise_conv_params *p, const int8_t *input, int8_t *output, int y,
                                       int x, int channel0, int count)
{
    const edk_requant *r = &p->requant;
    int32_t sums[EDK_DEPTHWISE_BLOCK];
    for (int i = 0; i < count; i++) {
        sums[i] = p->bias[channel0 + i];
    }
    edk_depthwise_sums(p, input, y, x, channel0, count, sums);
    int8_t *out = output + (ptrdiff_t)y * p->out.row_stride + (ptrdiff_t)x * p->out.pixel_stride + channel0;
    for (int i = 0; i < count; i++) {
        const int32_t scaled = edk_scale(sums[i], r->multiplier[channel0 + i], r->shift[channel0 + i]);
        out[i] = edk_clip_code(scaled, r->zero_point, r->act_min, r->act_max);
    }
}

/* All pixels of the channels from channel0 on. */
static inline void edk_depthwise_plain(const edk_depthwise_conv_params *p, const int8_t *input, int8_t *output,
                                       int channel0)
{
    for (int y = 0; y < p->out.height; y++) {
        for (int x = 0; x < p->out.width; x++) {
            for (int channel = channel0; channel < p->out.channels; channel += EDK_DEPTHWISE_BLOCK) {
                const int left = p->out.channels - channel;
                edk_depthwise_pixel(p, input, output, y, x, channel,
                                    left < EDK_DEPTHWISE_BLOCK ? left : EDK_DEPTHWISE_BLOCK);
            }
        }
    }
}

#endif
