/* Depthwise convolution for the DSP extension: planes of int16 pairs for four channels.
 *
 * A plane holds [column][pairs] words of a channel; word j of a column pairs tap rows 2j and 2j + 1. A window is
 * kernel_width * pairs words in a row, and the next output's begins stride_width * pairs further. Weights are brought
 * into the same order; a row that a last pair lacks has weight 0.
 * Dilation along the width, depth multipliers and filters of more than eight rows are left to plain C, and so are
 * channels beyond the last multiple of four.
 */
#ifndef EDK_DEPTHWISE_DSP_H
#define EDK_DEPTHWISE_DSP_H

#include "edk_depthwise_plane.h"
#include "edk_requant_dsp.h"

#define EDK_PLANES 4
#define EDK_MAX_PAIRS 4

typedef struct {
    const edk_depthwise_conv_params *params;
    uint32_t *weights; /* [EDK_PLANES][kernel_width][pairs] */
    uint32_t *planes;  /* [EDK_PLANES][columns][pairs] */
    int32_t plane;     /* words of a plane */
    int32_t pairs;
} edk_planes;

static inline int edk_depthwise_fits_planes(const edk_depthwise_conv_params *p)
{
    return p->out.channels == p->in.channels && p->window.dilation_width == 1 &&
           p->window.kernel_height <= 2 * EDK_MAX_PAIRS;
}

/* Low halves of a and b as one word, and the high halves. */
static inline uint32_t edk_pack_low(uint32_t a, uint32_t b)
{
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

static inline uint32_t edk_pack_high(uint32_t a, uint32_t b)
{
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
    return pair;
}

/* Four channels of two rows into four planes. */
static inline void edk_pack_pair(uint32_t a, uint32_t b, uint32_t *to, int32_t plane)
{
    const uint32_t a02 = edk_sxtb16(a), a13 = edk_sxtb16_odd(a), b02 = edk_sxtb16(b), b13 = edk_sxtb16_odd(b);
    to[0] = edk_pack_low(a02, b02);
    to[plane] = edk_pack_low(a13, b13);
    to[2 * plane] = edk_pack_high(a02, b02);
    to[3 * plane] = edk_pack_high(a13, b13);
}

static inline void edk_planes_weights(const edk_planes *b, int channel0)
{
    const edk_depthwise_conv_params *p = b->params;
    const int height = p->window.kernel_height, width = p->window.kernel_width;
    for (int kx = 0; kx < width; kx++) {
        for (int j = 0; j < b->pairs; j++) {
            const int8_t *from = p->weights + (ptrdiff_t)(2 * j * width + kx) * p->out.channels + channel0;
            const uint32_t below = 2 * j + 1 < height ? edk_load4(from + (ptrdiff_t)width * p->out.channels) : 0;
            edk_pack_pair(edk_load4(from), below, b->weights + kx * b->pairs + j, width * b->pairs);
        }
    }
}

/* Rows 2j and 2j + 1 of the window into the planes; a null row is padding. */
static inline void edk_planes_rows(const edk_planes *b, const int8_t *upper, const int8_t *lower, int j, int channel0)
{
    const edk_depthwise_conv_params *p = b->params;
    const int32_t columns = edk_plane_columns(p), step = b->pairs, plane = b->plane, stride = p->in.pixel_stride;
    const uint32_t fill = ((uint32_t)p->input_zero_point & 0xFFu) * 0x01010101u;
    const edk_plane_span span = edk_plane_inside(p);
    uint32_t *to = b->planes + j;
    int32_t column = 0;
    for (; column < span.first; column++, to += step) {
        edk_pack_pair(fill, fill, to, plane);
    }
    if (column < span.last) {
        /* A padding row reads the same word again and again. */
        const ptrdiff_t start = channel0 + (ptrdiff_t)(column - p->window.pad_left) * stride;
        const int8_t *a = upper == NULL ? (const int8_t *)&fill : upper + start;
        const int8_t *c = lower == NULL ? (const int8_t *)&fill : lower + start;
        const int32_t step_a = upper == NULL ? 0 : stride, step_c = lower == NULL ? 0 : stride;
        for (; column < span.last; column++, to += step, a += step_a, c += step_c) {
            edk_pack_pair(edk_load4(a), edk_load4(c), to, plane);
        }
    }
    for (; column < columns; column++, to += step) {
        edk_pack_pair(fill, fill, to, plane);
    }
}

/* Four outputs of one channel, `apart` words between their windows. */
static inline __attribute__((always_inline)) void edk_plane_dot4(const uint32_t *window, const uint32_t *weights,
                                                                 int width, int pairs, int32_t apart, int32_t sums[4])
{
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    for (int kx = 0; kx < width; kx++, window += pairs, weights += pairs) {
        for (int j = 0; j < pairs; j++) {
            const uint32_t w = weights[j];
            s0 = edk_smlad(window[j], w, s0);
            s1 = edk_smlad(window[apart + j], w, s1);
            s2 = edk_smlad(window[2 * apart + j], w, s2);
            s3 = edk_smlad(window[3 * apart + j], w, s3);
        }
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

static inline int32_t edk_plane_dot(const uint32_t *window, const uint32_t *weights, int32_t words, int32_t sum)
{
    for (int32_t i = 0; i < words; i++) {
        sum = edk_smlad(window[i], weights[i], sum);
    }
    return sum;
}

/* One row of output of one channel. */
static inline __attribute__((always_inline)) void edk_plane_channel(const edk_planes *b, int c, int channel, int pairs,
                                                                    int finish, int8_t *out)
{
    const edk_depthwise_conv_params *p = b->params;
    const edk_requant *r = &p->requant;
    const edk_channel constants = edk_channel_of(r, channel);
    const int width = p->window.kernel_width, pixel = p->out.pixel_stride;
    const int32_t apart = p->window.stride_width * pairs;
    const uint32_t *window = b->planes + (ptrdiff_t)c * b->plane;
    const uint32_t *weights = b->weights + (ptrdiff_t)c * width * pairs;
    const int32_t bias = p->bias[channel];
    int x = 0;
    for (; x + 4 <= p->out.width; x += 4, window += 4 * apart, out += 4 * pixel) {
        int32_t sums[4] = {bias, bias, bias, bias};
        if (p->window.stride_width == 1) {
            edk_plane_dot4(window, weights, width, pairs, pairs, sums);
        } else {
            edk_plane_dot4(window, weights, width, pairs, apart, sums);
        }
        out[0] = edk_finish(r, &constants, finish, sums[0]);
        out[pixel] = edk_finish(r, &constants, finish, sums[1]);
        out[2 * pixel] = edk_finish(r, &constants, finish, sums[2]);
        out[3 * pixel] = edk_finish(r, &constants, finish, sums[3]);
    }
    for (; x < p->out.width; x++, window += apart, out += pixel) {
        *out = edk_finish(r, &constants, finish, edk_plane_dot(window, weights, width * pairs, bias));
    }
}

static inline __attribute__((always_inline)) void edk_plane_channels(const edk_planes *b, int channel0, int pairs,
                                                                     int8_t *row)
{
    const int finish = edk_finish_of(&b->params->requant);
    for (int c = 0; c < EDK_PLANES; c++) {
        if (finish == EDK_FINISH_RELU) {
            edk_plane_channel(b, c, channel0 + c, pairs, EDK_FINISH_RELU, row + channel0 + c);
        } else {
            edk_plane_channel(b, c, channel0 + c, pairs, finish, row + channel0 + c);
        }
    }
}

static inline void edk_planes_fill(const edk_planes *b, const int8_t *input, int y, int channel0)
{
    const edk_depthwise_conv_params *p = b->params;
    for (int j = 0; j < b->pairs; j++) {
        const int8_t *upper = edk_plane_row(p, input, y, 2 * j);
        const int8_t *lower = 2 * j + 1 < p->window.kernel_height ? edk_plane_row(p, input, y, 2 * j + 1) : upper;
        edk_planes_rows(b, upper, lower, j, channel0);
    }
}

static inline void edk_depthwise_core(const edk_depthwise_conv_params *p, const int8_t *input, int8_t *output,
                                      void *scratch)
{
    int channel = 0;
    const int32_t pairs = (p->window.kernel_height + 1) / 2;
    const edk_planes b = {p, (uint32_t *)scratch,
                          (uint32_t *)scratch + EDK_PLANES * p->window.kernel_width * pairs,
                          edk_plane_columns(p) * pairs, pairs};
    const int fits = edk_depthwise_fits_planes(p);
    for (; fits && channel + EDK_PLANES <= p->out.channels; channel += EDK_PLANES) {
        edk_planes_weights(&b, channel);
        for (int y = 0; y < p->out.height; y++) {
            int8_t *row = output + (ptrdiff_t)y * p->out.row_stride;
            edk_planes_fill(&b, input, y, channel);
            switch (pairs) {
            case 2:
                edk_plane_channels(&b, channel, 2, row);
                break;
            case 3:
                edk_plane_channels(&b, channel, 3, row);
                break;
            default:
                edk_plane_channels(&b, channel, pairs, row);
                break;
            }
        }
    }
    edk_depthwise_plain(p, input, output, channel);
}

#endif
