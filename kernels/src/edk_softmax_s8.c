#include "edk_softmax_s8.h"

#include "edk_check.h"
#include "edk_scale.h"

#define SUM_FRACTION_BITS 19 /* of the sum; 12 bits are left for its integer part */

/* 1 / (1 + x) for x in [0, 1): values are raw / 2^31, by three Newton-Raphson steps with 29 fractional bits. */
static int32_t one_over_one_plus(int32_t x)
{
    const int32_t half_denominator = (int32_t)(((int64_t)x + (INT64_C(1) << 31)) >> 1);
    int32_t result = 1515870810 + edk_high_mul(half_denominator, -1010580540); /* 48/17 - 32/17 * half_denominator */
    for (int i = 0; i < 3; i++) {
        const int32_t error = (1 << 29) - edk_high_mul(half_denominator, result);
        result += edk_high_mul(result, error) * 4;
    }
    return result >= 1 << 30 ? INT32_MAX : result * 2;
}

/* Code of every channel of a pixel. */
static void soften(const int32_t *exps, const int8_t *from, int8_t *to, int channels)
{
    int32_t largest = from[0], sum = 0;
    for (int c = 1; c < channels; c++) {
        largest = from[c] > largest ? from[c] : largest;
    }
    for (int c = 0; c < channels; c++) {
        sum += edk_rounding_shift(exps[largest - from[c]], 31 - SUM_FRACTION_BITS);
    }
    int above = 0; /* bits of the sum above those of 1; the sum is 1 at least */
    while (sum >> SUM_FRACTION_BITS >> above > 1) {
        above++;
    }
    const uint32_t mantissa = (uint32_t)sum << (31 - SUM_FRACTION_BITS - above); /* 2^31 .. 2^32 - 1 */
    const int32_t scale = one_over_one_plus((int32_t)(mantissa - 0x80000000u));
    for (int c = 0; c < channels; c++) {
        const int32_t product = edk_high_mul(exps[largest - from[c]], scale);
        to[c] = edk_clip_code(edk_rounding_shift(product, above + 23), -128, -128, 127);
    }
}

edk_status edk_softmax_s8(const edk_softmax_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL || params->exps == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_view *in = &params->in, *out = &params->out;
    if (!edk_view_ok(in) || !edk_view_ok(out) || !edk_same_size(in, out) || in->channels > EDK_SOFTMAX_MAX_CHANNELS) {
        return EDK_ERROR_SHAPE;
    }
    for (int y = 0; y < in->height; y++) {
        for (int x = 0; x < in->width; x++) {
            soften(params->exps, input + (ptrdiff_t)y * in->row_stride + (ptrdiff_t)x * in->pixel_stride,
                   output + (ptrdiff_t)y * out->row_stride + (ptrdiff_t)x * out->pixel_stride, in->channels);
        }
    }
    return EDK_OK;
}
