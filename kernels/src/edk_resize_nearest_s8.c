#include "edk_resize_nearest_s8.h"

#include <string.h>

#include "edk_check.h"

static int table_ok(const int16_t *table, int count, int limit)
{
    for (int i = 0; i < count; i++) {
        if (table[i] < 0 || table[i] >= limit) {
            return 0;
        }
    }
    return 1;
}

edk_status edk_resize_nearest_s8(const edk_resize_nearest_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL || params->rows == NULL || params->columns == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_view *in = &params->in, *out = &params->out;
    if (!edk_view_ok(in) || !edk_view_ok(out) || in->channels != out->channels) {
        return EDK_ERROR_SHAPE;
    }
    if (!table_ok(params->rows, out->height, in->height) || !table_ok(params->columns, out->width, in->width)) {
        return EDK_ERROR_RANGE;
    }
    for (int y = 0; y < out->height; y++) {
        const int8_t *from = input + (ptrdiff_t)params->rows[y] * in->row_stride;
        int8_t *to = output + (ptrdiff_t)y * out->row_stride;
        for (int x = 0; x < out->width; x++, to += out->pixel_stride) {
            memcpy(to, from + (ptrdiff_t)params->columns[x] * in->pixel_stride, (size_t)in->channels);
        }
    }
    return EDK_OK;
}
