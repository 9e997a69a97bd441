/* Unfolding of a convolution's window into one row of codes (im2col). */
#ifndef EDK_UNFOLD_H
#define EDK_UNFOLD_H

#include <string.h>

#include "edk_conv_s8.h"

/* Whether every tap of output (y, x) is inside the input; y0, x0: its first tap. */
static inline int edk_window_inside(const edk_conv_params *p, int y0, int x0)
{
    const edk_window *w = &p->window;
    return y0 >= 0 && x0 >= 0 && y0 + (w->kernel_height - 1) * w->dilation_height < p->in.height &&
           x0 + (w->kernel_width - 1) * w->dilation_width < p->in.width;
}

/* Input pixel (y, x), which must exist. */
static inline const int8_t *edk_pixel(const edk_conv_params *p, const int8_t *input, int y, int x)
{
    return input + (ptrdiff_t)y * p->in.row_stride + (ptrdiff_t)x * p->in.pixel_stride;
}

/* Write the codes of output (y, x) in the order of the weights: [kernel_height][kernel_width][in.channels]. */
static inline void edk_unfold(const edk_conv_params *p, const int8_t *input, int y, int x, int8_t *patch)
{
    const edk_window *w = &p->window;
    const size_t channels = (size_t)p->in.channels;
    const int y0 = y * w->stride_height - w->pad_top, x0 = x * w->stride_width - w->pad_left;
    const int joined = w->dilation_width == 1 && p->in.pixel_stride == p->in.channels;
    const int inside = joined && edk_window_inside(p, y0, x0);
    for (int ky = 0; ky < w->kernel_height; ky++) {
        const int iy = y0 + ky * w->dilation_height;
        if (inside) {
            const int bytes = p->in.channels * w->kernel_width;
            memcpy(patch, edk_pixel(p, input, iy, x0), (size_t)bytes);
            patch += bytes;
            continue;
        }
        for (int kx = 0; kx < w->kernel_width; kx++, patch += channels) {
            const int ix = x0 + kx * w->dilation_width;
            if (iy < 0 || iy >= p->in.height || ix < 0 || ix >= p->in.width) {
                memset(patch, p->input_zero_point, channels);
            } else {
                memcpy(patch, edk_pixel(p, input, iy, ix), channels);
            }
        }
    }
}

#endif
