#include "edk_logistic_s16.h"

#include "edk_check.h"

#define STEPS 512 /* between two values of the table */
#define LAST 254  /* value that has a next one */

static int16_t logistic(const edk_logistic_params *p, int16_t code)
{
    const int64_t half = (INT64_C(1) << p->shift) >> 1;
    const int32_t steps = (int32_t)((code * (int64_t)p->multiplier + half) >> p->shift);
    const int32_t distance = steps < 0 ? -steps : steps;
    const int32_t entry = distance / STEPS, fraction = distance % STEPS;
    int32_t height = INT16_MAX * (1 << 10); /* 25 bits; a result has 15 */
    if (entry <= LAST) {
        height = p->table[entry] * STEPS + fraction * (p->table[entry + 1] - p->table[entry]);
    }
    return (int16_t)((steps >= 0 ? height + 512 : (1 << 25) - height + 511) >> 10);
}

edk_status edk_logistic_s16(const edk_logistic_params *params, const int16_t *input, int16_t *output)
{
    if (params == NULL || input == NULL || output == NULL || params->table == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_view *in = &params->in, *out = &params->out;
    if (!edk_view_ok(in) || !edk_view_ok(out) || !edk_same_size(in, out)) {
        return EDK_ERROR_SHAPE;
    }
    if (params->multiplier < 0 || params->multiplier > 2 * INT16_MAX || params->shift < 0 || params->shift > 31) {
        return EDK_ERROR_RANGE;
    }
    for (int y = 0; y < in->height; y++) {
        const int16_t *from = input + (ptrdiff_t)y * in->row_stride;
        int16_t *to = output + (ptrdiff_t)y * out->row_stride;
        for (int x = 0; x < in->width; x++, from += in->pixel_stride, to += out->pixel_stride) {
            for (int c = 0; c < in->channels; c++) {
                to[c] = logistic(params, from[c]);
            }
        }
    }
    return EDK_OK;
}
