/* Checks of parameters that the operators share. */
#ifndef EDK_CHECK_H
#define EDK_CHECK_H

#include "edk_types.h"

#define EDK_MAX_WINDOW (1 << 20) /* elements of a filter; the accumulator bound is nearer */

static inline int edk_view_ok(const edk_view *v)
{
    return v->height >= 1 && v->width >= 1 && v->channels >= 1 && v->pixel_stride >= v->channels &&
           v->row_stride >= (v->width - 1) * v->pixel_stride + v->channels;
}

static inline int edk_same_size(const edk_view *a, const edk_view *b)
{
    return a->height == b->height && a->width == b->width && a->channels == b->channels;
}

static inline int edk_is_dense(const edk_view *v)
{
    return v->pixel_stride == v->channels && v->row_stride == v->width * v->channels;
}

static inline int edk_window_ok(const edk_window *w)
{
    return w->kernel_height >= 1 && w->kernel_width >= 1 && w->stride_height >= 1 && w->stride_width >= 1 &&
           w->dilation_height >= 1 && w->dilation_width >= 1 && w->pad_top >= 0 && w->pad_left >= 0;
}

static inline int edk_is_code(int x)
{
    return x >= -128 && x <= 127;
}

static inline int edk_limits_ok(int low, int high)
{
    return low >= -128 && high <= 127 && low <= high;
}

static inline int edk_requant_ok(const edk_requant *r)
{
    return edk_is_code(r->zero_point) && edk_limits_ok(r->act_min, r->act_max);
}

/* Elements of a window, or 0 when there are too many. */
static inline size_t edk_window_size(const edk_window *w, int channels)
{
    const uint64_t n = (uint64_t)w->kernel_height * (uint64_t)w->kernel_width * (uint64_t)channels;
    return n <= EDK_MAX_WINDOW ? (size_t)n : 0;
}

static inline int edk_is_aligned(const void *pointer, uintptr_t bytes)
{
    return (uintptr_t)pointer % bytes == 0;
}

#endif
