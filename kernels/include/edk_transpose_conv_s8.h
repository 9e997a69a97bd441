/* TRANSPOSE_CONV, int8. */
#ifndef EDK_TRANSPOSE_CONV_S8_H
#define EDK_TRANSPOSE_CONV_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Input (y, x) times the filter's tap (ky, kx) is added to output
 * (y * stride_height - pad_top + ky, x * stride_width - pad_left + kx), where that exists. Dilations must be 1.
 * weights: [out.channels][kernel_height][kernel_width][in.channels], -128 .. 127, zero point 0.
 * bias: one per output channel, as the operator has it, or null for zeros.
 * Accumulators are int32: bias plus the sum of (code - input_zero_point) * weight over the taps that meet at one output
 * must fit for every order of codes; whoever makes the parameters checks it.
 */
typedef struct {
    edk_view in, out;
    edk_window window;
    edk_requant requant;
    const int8_t *weights;
    const int32_t *bias;
    int16_t input_zero_point;
} edk_transpose_conv_params;

/* Every output is computed by itself, so that no accumulators are kept; input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_transpose_conv_s8(const edk_transpose_conv_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
