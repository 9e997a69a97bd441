#include "edk_lut_s8.h"

#include "edk_check.h"

edk_status edk_lut_s8(const edk_lut_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL || params->table == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_view *in = &params->in, *out = &params->out;
    if (!edk_view_ok(in) || !edk_view_ok(out) || !edk_same_size(in, out)) {
        return EDK_ERROR_SHAPE;
    }
    const int joined = in->pixel_stride == in->channels && out->pixel_stride == out->channels;
    const int runs = joined ? 1 : in->width;
    const int32_t count = joined ? in->width * in->channels : in->channels;
    const int8_t *table = params->table;
    for (int y = 0; y < in->height; y++) {
        const int8_t *from = input + (ptrdiff_t)y * in->row_stride;
        int8_t *to = output + (ptrdiff_t)y * out->row_stride;
        for (int x = 0; x < runs; x++, from += in->pixel_stride, to += out->pixel_stride) {
            for (int32_t i = 0; i < count; i++) {
                to[i] = table[(uint8_t)from[i]];
            }
        }
    }
    return EDK_OK;
}
