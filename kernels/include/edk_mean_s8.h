/* MEAN and SUM, int8, over neighbouring axes. */
#ifndef EDK_MEAN_S8_H
#define EDK_MEAN_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The input is [outer][count][inner], dense; the output [outer][inner]. MEAN over height and width of NHWC: outer = 1,
 * count = height * width, inner = channels.
 * multiplier/shift: for MEAN from the scale ratio with 1 / count folded in (numerics.integer.mean_multiplier), so that
 * the multiplier may be any value of 0 .. 2^31 - 1; for SUM from the scale ratio. shift: -31 .. 31.
 * Accumulators are int32: count at most 2^23.
 */
typedef struct {
    int32_t outer, count, inner;
    int32_t multiplier;
    int8_t shift;
    int16_t zero_point, out_zero_point;
} edk_mean_params;

/* out = clip(scaled(sum of codes - count * zero_point) + out_zero_point, -128, 127); input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_mean_s8(const edk_mean_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
