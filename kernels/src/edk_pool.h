/* What the two poolings share. */
#ifndef EDK_POOL_H
#define EDK_POOL_H

#include "edk_max_pool_s8.h"
#include "edk_check.h"

/* Part of a window inside the input: rows y0 .. y1 - 1, columns x0 .. x1 - 1. */
typedef struct {
    int y0, y1, x0, x1;
} edk_pool_span;

static inline edk_pool_span edk_pool_window(const edk_pool_params *p, int y, int x)
{
    const edk_window *w = &p->window;
    const int top = y * w->stride_height - w->pad_top, left = x * w->stride_width - w->pad_left;
    const int bottom = top + w->kernel_height, right = left + w->kernel_width;
    edk_pool_span span;
    span.y0 = top < 0 ? 0 : top;
    span.y1 = bottom > p->in.height ? p->in.height : bottom;
    span.x0 = left < 0 ? 0 : left;
    span.x1 = right > p->in.width ? p->in.width : right;
    return span;
}

static inline int edk_pool_shape_ok(const edk_pool_params *p)
{
    const edk_window *w = &p->window;
    if (!edk_view_ok(&p->in) || !edk_view_ok(&p->out) || p->in.channels != p->out.channels || !edk_window_ok(w) ||
        w->dilation_height != 1 || w->dilation_width != 1 || w->kernel_height * w->kernel_width > (1 << 23)) {
        return 0;
    }
    /* The first and the last window are the ones that may miss the input. */
    return w->pad_top < w->kernel_height && w->pad_left < w->kernel_width &&
           (p->out.height - 1) * w->stride_height - w->pad_top < p->in.height &&
           (p->out.width - 1) * w->stride_width - w->pad_left < p->in.width;
}

static inline edk_status edk_pool_check(const edk_pool_params *p, const int8_t *input, const int8_t *output)
{
    if (p == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_pool_shape_ok(p)) {
        return EDK_ERROR_SHAPE;
    }
    return edk_limits_ok(p->act_min, p->act_max) ? EDK_OK : EDK_ERROR_RANGE;
}

#endif
