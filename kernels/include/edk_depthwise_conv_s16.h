/* DEPTHWISE_CONV_2D with int16 activations and int8 weights, any depth multiplier. */
#ifndef EDK_DEPTHWISE_CONV_S16_H
#define EDK_DEPTHWISE_CONV_S16_H

#include "edk_conv_s16.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out.channels must be a multiple of in.channels; output channel o reads input channel o / (out.channels / in.channels).
 * weights: [kernel_height][kernel_width][out.channels]; all else as in edk_conv_s16.h.
 */
edk_status edk_depthwise_conv_s16(const edk_conv_s16_params *params, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
