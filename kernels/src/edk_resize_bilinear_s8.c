#include "edk_resize_bilinear_s8.h"

#include "edk_check.h"

static int table_ok(const int16_t *table, int count, int limit)
{
    for (int i = 0; i < count; i++, table += 3) {
        if (table[0] < 0 || table[0] >= limit || table[1] < 0 || table[1] >= limit || table[2] < 0 || table[2] > 1024) {
            return 0;
        }
    }
    return 1;
}

/* One output pixel: corners are above left, above right, below left, below right; right and below in 1/1024. */
static void blend(const int8_t *const corners[4], int32_t right, int32_t below, int channels, int8_t *out)
{
    const int32_t half = 1 << 19;
    for (int c = 0; c < channels; c++) {
        const int32_t top = corners[0][c] * (1024 - right) + corners[1][c] * right;
        const int32_t bottom = corners[2][c] * (1024 - right) + corners[3][c] * right;
        const int32_t sum = top * (1024 - below) + bottom * below; /* at most 2^27 */
        out[c] = (int8_t)((sum < 0 ? sum - half : sum + half) / (1 << 20));
    }
}

edk_status edk_resize_bilinear_s8(const edk_resize_bilinear_params *params, const int8_t *input, int8_t *output)
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
    const int16_t *row = params->rows;
    for (int y = 0; y < out->height; y++, row += 3) {
        const int8_t *above = input + (ptrdiff_t)row[0] * in->row_stride;
        const int8_t *below = input + (ptrdiff_t)row[1] * in->row_stride;
        int8_t *to = output + (ptrdiff_t)y * out->row_stride;
        const int16_t *column = params->columns;
        for (int x = 0; x < out->width; x++, column += 3, to += out->pixel_stride) {
            const ptrdiff_t left = (ptrdiff_t)column[0] * in->pixel_stride;
            const ptrdiff_t right = (ptrdiff_t)column[1] * in->pixel_stride;
            const int8_t *const corners[4] = {above + left, above + right, below + left, below + right};
            blend(corners, column[2], row[2], in->channels, to);
        }
    }
    return EDK_OK;
}
