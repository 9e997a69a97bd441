#include "edk_copy_s8.h"

#include <string.h>

#include "edk_check.h"

edk_status edk_copy_s8(const edk_copy_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_view *in = &params->in, *out = &params->out;
    if (!edk_view_ok(in) || !edk_view_ok(out) || !edk_same_size(in, out)) {
        return EDK_ERROR_SHAPE;
    }
    const int joined = in->pixel_stride == in->channels && out->pixel_stride == out->channels;
    const int runs = joined ? 1 : in->width;
    const size_t bytes = (size_t)in->channels * (size_t)(joined ? in->width : 1);
    for (int y = 0; y < in->height; y++) {
        const int8_t *from = input + (ptrdiff_t)y * in->row_stride;
        int8_t *to = output + (ptrdiff_t)y * out->row_stride;
        for (int x = 0; x < runs; x++, from += in->pixel_stride, to += out->pixel_stride) {
            memcpy(to, from, bytes);
        }
    }
    return EDK_OK;
}
