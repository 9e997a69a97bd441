/* CONV_2D with int16 activations and int8 weights. */
#ifndef EDK_CONV_S16_H
#define EDK_CONV_S16_H

#include "edk_status.h"
#include "edk_wide.h"

#ifdef __cplusplus
extern "C" {
#endif

/* weights: [out.channels][kernel_height][kernel_width][in.channels], -128 .. 127, zero point 0.
 * bias: two words per output channel, the lower 32 bits first.
 * |bias| + 32768 * (sum of |weights|) of a channel must stay below 2^47; whoever makes the parameters checks it.
 */
typedef struct {
    edk_view in, out; /* strides in elements */
    edk_window window;
    edk_requant_wide requant;
    const int8_t *weights;
    const int32_t *bias;
} edk_conv_s16_params;

/* Convolve: out(y, x, o) = requantize(bias[o] + sum over taps of input code * weight); taps outside read 0.
 *
 * input, output: described by params->in and params->out; they must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_conv_s16(const edk_conv_s16_params *params, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
