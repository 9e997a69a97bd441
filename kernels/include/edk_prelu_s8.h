/* PRELU, int8, with broadcasting. With one number for all slopes, use a table instead (edk_lut_s8.h). */
#ifndef EDK_PRELU_S8_H
#define EDK_PRELU_S8_H

#include "edk_broadcast.h"
#include "edk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* in1 is the input, in2 the slopes. multiplier/shift from si / so, for codes from the zero point up;
 * slope_multiplier/slope_shift from si * s_slope / so, for those below.
 */
typedef struct {
    edk_broadcast sizes;
    int32_t multiplier, slope_multiplier;
    int8_t shift, slope_shift; /* -31 .. 14 */
    int16_t zero_point, slope_zero_point, out_zero_point;
} edk_prelu_params;

/* output may be one of the inputs if their steps are equal, else no overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_prelu_s8(const edk_prelu_params *params, const int8_t *input, const int8_t *slope, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
