/* ADD (and the parameters of SUB), int8, with broadcasting. */
#ifndef EDK_ADD_S8_H
#define EDK_ADD_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Both inputs are shifted left by 20 bits, scaled to twice the larger input scale, added or subtracted, and scaled to
 * the output; every scaling is the double-rounding one of edk_types.h.
 * Scales s1, s2, so: multiplier1/shift1 from s1 / (2 * max(s1, s2)), multiplier2/shift2 likewise,
 * out_multiplier/out_shift from 2 * max(s1, s2) / (2^20 * so). Shifts: -31 .. 0. A shift so low that the multiplier
 * has become 0 is allowed.
 * An operand that is not broadcast has steps (row_stride, pixel_stride, 1); N11C: (0, 0, 1); a scalar: (0, 0, 0).
 * out gives the size of the loop; out.channel must be 1.
 */
typedef struct {
    int16_t height, width, channels;
    edk_steps in1, in2, out;
    int32_t multiplier1, multiplier2, out_multiplier;
    int8_t shift1, shift2, out_shift;
    int16_t zero_point1, zero_point2, out_zero_point;
    int16_t act_min, act_max;
} edk_add_params;

/* output = input1 + input2.
 *
 * output may be input1 or input2 itself (same pointer, same steps, not broadcast); other overlaps are not allowed.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_add_s8(const edk_add_params *params, const int8_t *input1, const int8_t *input2, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
