#include "edk_pad_s8.h"

#include <string.h>

#include "edk_check.h"

static void pad_pixel(const edk_pad_params *p, const int8_t *input, int8_t *out, int y, int x)
{
    const int iy = y - p->top, ix = x - p->left;
    const size_t front = (size_t)p->front, inner = (size_t)p->in.channels, all = (size_t)p->out.channels;
    if (iy < 0 || iy >= p->in.height || ix < 0 || ix >= p->in.width) {
        memset(out, p->fill, all);
        return;
    }
    memset(out, p->fill, front);
    memcpy(out + front, input + (ptrdiff_t)iy * p->in.row_stride + (ptrdiff_t)ix * p->in.pixel_stride, inner);
    memset(out + front + inner, p->fill, all - front - inner);
}

edk_status edk_pad_s8(const edk_pad_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_pad_params *p = params;
    if (!edk_view_ok(&p->in) || !edk_view_ok(&p->out) || p->top < 0 || p->left < 0 || p->front < 0 ||
        p->top + p->in.height > p->out.height || p->left + p->in.width > p->out.width ||
        p->front + p->in.channels > p->out.channels) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_is_code(p->fill)) {
        return EDK_ERROR_RANGE;
    }
    for (int y = 0; y < p->out.height; y++) {
        for (int x = 0; x < p->out.width; x++) {
            pad_pixel(p, input, output + (ptrdiff_t)y * p->out.row_stride + (ptrdiff_t)x * p->out.pixel_stride, y, x);
        }
    }
    return EDK_OK;
}
