/* What the two convolutions of int16 share. */
#ifndef EDK_WIDE_CONV_H
#define EDK_WIDE_CONV_H

#include "edk_conv_s16.h"
#include "edk_wide_scale.h"

#define EDK_WIDE_RUN 256 /* products of int16 and int8 whose sum fits int32 */

static inline edk_status edk_wide_conv_check(const edk_conv_s16_params *p, const int16_t *input, const int16_t *output)
{
    if (p == NULL || input == NULL || output == NULL || p->weights == NULL || p->bias == NULL ||
        p->requant.multiplier == NULL || p->requant.shift == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_view_ok(&p->in) || !edk_view_ok(&p->out) || !edk_window_ok(&p->window) ||
        edk_window_size(&p->window, p->in.channels) == 0) {
        return EDK_ERROR_SHAPE;
    }
    return p->requant.act_min <= p->requant.act_max ? EDK_OK : EDK_ERROR_RANGE;
}

/* The part of a window that lies inside the input: taps ky0 .. ky1 - 1, kx0 .. kx1 - 1; none where ky0 >= ky1. */
typedef struct {
    int y0, x0; /* row and column of tap (0, 0), perhaps outside */
    int ky0, ky1, kx0, kx1;
    int joined; /* whether the taps of a row are one run of codes */
} edk_wide_window;

/* First tap (of step `dilation`) at or behind 0, and the first at or behind `size`; `start`: place of tap 0. */
static inline int edk_wide_tap(int start, int dilation, int kernel, int size)
{
    const int tap = start >= size ? 0 : (size - start + dilation - 1) / dilation;
    return tap < kernel ? tap : kernel;
}

static inline edk_wide_window edk_wide_window_at(const edk_conv_s16_params *p, int y, int x)
{
    const edk_window *w = &p->window;
    edk_wide_window v;
    v.y0 = y * w->stride_height - w->pad_top;
    v.x0 = x * w->stride_width - w->pad_left;
    v.ky0 = edk_wide_tap(v.y0, w->dilation_height, w->kernel_height, 0);
    v.ky1 = edk_wide_tap(v.y0, w->dilation_height, w->kernel_height, p->in.height);
    v.kx0 = edk_wide_tap(v.x0, w->dilation_width, w->kernel_width, 0);
    v.kx1 = edk_wide_tap(v.x0, w->dilation_width, w->kernel_width, p->in.width);
    v.joined = v.kx0 < v.kx1 && w->dilation_width == 1 && p->in.pixel_stride == p->in.channels;
    return v;
}

/* sum + codes times weights. Runs are summed in 32 bits, which is quicker than 64. */
static inline int64_t edk_wide_dot(const int16_t *codes, const int8_t *weights, int32_t count, int64_t sum)
{
    while (count > 0) {
        const int32_t run = count < EDK_WIDE_RUN ? count : EDK_WIDE_RUN;
        int32_t part = 0;
        for (int32_t i = 0; i < run; i++) {
            part += codes[i] * weights[i];
        }
        sum += part;
        codes += run;
        weights += run;
        count -= run;
    }
    return sum;
}

#endif
