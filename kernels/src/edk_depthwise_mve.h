/* Depthwise convolution for MVE: planes of codes for eight channels, windows as one to four vectors of sixteen taps.
 *
 * A plane holds [column][kernel_height] codes of a channel. A window is kernel_width * kernel_height codes in a row, and
 * the next output's begins stride_width * kernel_height further. Weights are brought into the same order, filled up with
 * zeros, so that what a window's last vector reads beyond its end does not count.
 * Dilation along the width, depth multipliers and filters of more than 64 taps are left to plain C.
 */
#ifndef EDK_DEPTHWISE_MVE_H
#define EDK_DEPTHWISE_MVE_H

#include "edk_depthwise_plane.h"
#include "edk_requant_mve.h"

#define EDK_PLANES 8
#define EDK_MAX_VECTORS 4

typedef struct {
    const edk_depthwise_conv_params *params;
    int8_t *weights; /* [EDK_PLANES][vectors * 16] */
    int8_t *planes;  /* [EDK_PLANES][plane] */
    int32_t plane;   /* codes of a plane */
    int32_t vectors;
} edk_planes;

static inline int edk_depthwise_fits_planes(const edk_depthwise_conv_params *p)
{
    const edk_window *w = &p->window;
    return p->out.channels == p->in.channels && w->dilation_width == 1 &&
           w->kernel_height * w->kernel_width <= 16 * EDK_MAX_VECTORS &&
           edk_plane_columns(p) * w->kernel_height * EDK_PLANES <= UINT16_MAX;
}

static inline void edk_planes_weights(const edk_planes *b, int channel0, int count)
{
    const edk_depthwise_conv_params *p = b->params;
    const int height = p->window.kernel_height, width = p->window.kernel_width;
    const int32_t room = 16 * b->vectors;
    memset(b->weights, 0, (size_t)(EDK_PLANES * room));
    for (int ky = 0; ky < height; ky++) {
        for (int kx = 0; kx < width; kx++) {
            const int8_t *from = p->weights + (ptrdiff_t)(ky * width + kx) * p->out.channels + channel0;
            for (int c = 0; c < count; c++) {
                b->weights[c * room + kx * height + ky] = from[c];
            }
        }
    }
}

/* Scatter one row of the window into the planes. */
static inline void edk_planes_row(const edk_planes *b, const int8_t *row, int ky, int channel0, mve_pred16_t mask)
{
    const edk_depthwise_conv_params *p = b->params;
    const int32_t height = p->window.kernel_height, columns = edk_plane_columns(p);
    const uint16x8_t offsets = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)b->plane);
    const int16x8_t fill = vdupq_n_s16(p->input_zero_point);
    const edk_plane_span span = edk_plane_inside(p);
    int8_t *to = b->planes + ky;
    int32_t column = 0;
    const int32_t first = row == NULL ? columns : span.first, last = row == NULL ? columns : span.last;
    for (; column < first; column++, to += height) {
        vstrbq_scatter_offset_s16(to, offsets, fill);
    }
    if (column < last) {
        const int8_t *from = row + channel0 + (ptrdiff_t)(column - p->window.pad_left) * p->in.pixel_stride;
        for (; column < last; column++, to += height, from += p->in.pixel_stride) {
            vstrbq_scatter_offset_s16(to, offsets, vldrbq_z_s16(from, mask));
        }
    }
    for (; column < columns; column++, to += height) {
        vstrbq_scatter_offset_s16(to, offsets, fill);
    }
}

static inline __attribute__((always_inline)) int32_t edk_plane_dot(const int8_t *window, const int8x16_t weights[],
                                                                   int vectors, int32_t sum)
{
    sum = vmladavaq_s8(sum, vldrbq_s8(window), weights[0]);
    if (vectors > 1) {
        sum = vmladavaq_s8(sum, vldrbq_s8(window + 16), weights[1]);
    }
    if (vectors > 2) {
        sum = vmladavaq_s8(sum, vldrbq_s8(window + 32), weights[2]);
    }
    if (vectors > 3) {
        sum = vmladavaq_s8(sum, vldrbq_s8(window + 48), weights[3]);
    }
    return sum;
}

/* One row of output of one channel. */
static inline __attribute__((always_inline)) void edk_plane_channel(const edk_planes *b, int c, int channel,
                                                                    int vectors, int finish, int8_t *out)
{
    const edk_depthwise_conv_params *p = b->params;
    const edk_requant *r = &p->requant;
    const edk_codes codes = edk_codes_of(r);
    const int32_t step = p->window.stride_width * p->window.kernel_height;
    const int8_t *window = b->planes + (ptrdiff_t)c * b->plane;
    const int shift = r->shift[channel];
    const int32x4_t multiplier = vdupq_n_s32(r->multiplier[channel]);
    const int32x4_t right = vdupq_n_s32(shift < 0 ? shift : 0), left = vdupq_n_s32(shift > 0 ? shift : 0);
    const int32_t bias = p->bias[channel];
    const uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)p->out.pixel_stride);
    int8x16_t weights[EDK_MAX_VECTORS];
    for (int i = 0; i < vectors; i++) {
        weights[i] = vldrbq_s8(b->weights + (c * vectors + i) * 16);
    }
    int x = 0;
    for (; x + 4 <= p->out.width; x += 4, out += 4 * p->out.pixel_stride) {
        int32x4_t sums = vdupq_n_s32(edk_plane_dot(window, weights, vectors, bias));
        sums = vsetq_lane_s32(edk_plane_dot(window + step, weights, vectors, bias), sums, 1);
        sums = vsetq_lane_s32(edk_plane_dot(window + 2 * step, weights, vectors, bias), sums, 2);
        sums = vsetq_lane_s32(edk_plane_dot(window + 3 * step, weights, vectors, bias), sums, 3);
        window += 4 * step;
        vstrbq_scatter_offset_s32(out, offsets, edk_finish4(&codes, finish, sums, multiplier, right, left));
    }
    for (; x < p->out.width; x++, window += step, out += p->out.pixel_stride) {
        const int32x4_t sum = vdupq_n_s32(edk_plane_dot(window, weights, vectors, bias));
        *out = (int8_t)vgetq_lane_s32(edk_finish4(&codes, finish, sum, multiplier, right, left), 0);
    }
}

static inline __attribute__((always_inline)) void edk_plane_channels(const edk_planes *b, int channel0, int count,
                                                                     int vectors, int8_t *row)
{
    const int finish = edk_finish_of(&b->params->requant);
    for (int c = 0; c < count; c++) {
        int8_t *out = row + channel0 + c;
        if (finish == EDK_FINISH_RELU) {
            edk_plane_channel(b, c, channel0 + c, vectors, EDK_FINISH_RELU, out);
        } else {
            edk_plane_channel(b, c, channel0 + c, vectors, EDK_FINISH_ANY, out);
        }
    }
}

static inline void edk_depthwise_core(const edk_depthwise_conv_params *p, const int8_t *input, int8_t *output,
                                      void *scratch)
{
    if (!edk_depthwise_fits_planes(p)) {
        edk_depthwise_plain(p, input, output, 0);
        return;
    }
    edk_planes b = {p, (int8_t *)scratch, NULL, edk_plane_columns(p) * p->window.kernel_height,
                    (p->window.kernel_height * p->window.kernel_width + 15) / 16};
    b.planes = b.weights + EDK_PLANES * 16 * b.vectors;
    for (int channel = 0; channel < p->out.channels; channel += EDK_PLANES) {
        const int left = p->out.channels - channel, count = left < EDK_PLANES ? left : EDK_PLANES;
        const mve_pred16_t mask = vctp16q((uint32_t)count);
        edk_planes_weights(&b, channel, count);
        for (int y = 0; y < p->out.height; y++) {
            int8_t *row = output + (ptrdiff_t)y * p->out.row_stride;
            for (int ky = 0; ky < p->window.kernel_height; ky++) {
                edk_planes_row(&b, edk_plane_row(p, input, y, ky), ky, channel, mask);
            }
            switch (b.vectors) {
            case 1:
                edk_plane_channels(&b, channel, count, 1, row);
                break;
            case 2:
                edk_plane_channels(&b, channel, count, 2, row);
                break;
            default:
                edk_plane_channels(&b, channel, count, b.vectors, row);
                break;
            }
        }
    }
}

#endif
