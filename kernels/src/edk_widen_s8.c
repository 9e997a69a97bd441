#include "edk_widen_s8.h"

#include "edk_check.h"

edk_status edk_widen_s8(const edk_widen_params *params, const int8_t *input, int16_t *output)
{
    if (params == NULL || input == NULL || output == NULL || params->table == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_view *in = &params->in, *out = &params->out;
    if (!edk_view_ok(in) || !edk_view_ok(out) || !edk_same_size(in, out)) {
        return EDK_ERROR_SHAPE;
    }
    const int16_t *table = params->table;
    for (int y = 0; y < in->height; y++) {
        const int8_t *from = input + (ptrdiff_t)y * in->row_stride;
        int16_t *to = output + (ptrdiff_t)y * out->row_stride;
        for (int x = 0; x < in->width; x++, from += in->pixel_stride, to += out->pixel_stride) {
            for (int c = 0; c < in->channels; c++) {
                to[c] = table[(uint8_t)from[c]];
            }
        }
    }
    return EDK_OK;
}
