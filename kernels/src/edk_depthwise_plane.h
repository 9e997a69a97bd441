/* Depthwise convolution from planes: the input columns that a row of output touches are gathered for a block of channels,
 * each channel's column after column, so that a window with neighbouring columns is one run of memory.
 */
#ifndef EDK_DEPTHWISE_PLANE_H
#define EDK_DEPTHWISE_PLANE_H

#include <string.h>

#include "edk_depthwise_plain.h"

/* Input columns that a row of output touches; column 0 of a plane is input column -pad_left. */
static inline int32_t edk_plane_columns(const edk_depthwise_conv_params *p)
{
    return (p->out.width - 1) * p->window.stride_width + p->window.kernel_width;
}

/* The part of a plane's columns that lies inside the input: first <= column < last. */
typedef struct {
    int32_t first, last;
} edk_plane_span;

static inline edk_plane_span edk_plane_inside(const edk_depthwise_conv_params *p)
{
    const int32_t columns = edk_plane_columns(p), left = p->window.pad_left;
    edk_plane_span span;
    span.first = left < columns ? left : columns;
    span.last = left + p->in.width < columns ? left + p->in.width : columns;
    return span;
}

/* Row of the input that tap row ky of output row y reads, or null for the padding. */
static inline const int8_t *edk_plane_row(const edk_depthwise_conv_params *p, const int8_t *input, int y, int ky)
{
    const int iy = y * p->window.stride_height - p->window.pad_top + ky * p->window.dilation_height;
    return iy < 0 || iy >= p->in.height ? NULL : input + (ptrdiff_t)iy * p->in.row_stride;
}

#endif
