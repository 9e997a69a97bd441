/* DEPTHWISE_CONV_2D, int8, with any depth multiplier. */
#ifndef EDK_DEPTHWISE_CONV_S8_H
#define EDK_DEPTHWISE_CONV_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out.channels must be a multiple of in.channels; output channel o reads input channel o / (out.channels / in.channels).
 * weights: [kernel_height][kernel_width][out.channels], -128 .. 127, zero point 0.
 * bias: as in edk_conv_s8.h, the input's zero point folded in. Accumulators: int32, same bound.
 * input_zero_point: code that taps outside the input read.
 */
typedef struct {
    edk_view in, out;
    edk_window window;
    edk_requant requant;
    const int8_t *weights;
    const int32_t *bias;
    int16_t input_zero_point;
} edk_depthwise_conv_params;

/* Scratch in bytes, the same on every processor, for the convolutions that a processor may gather in planes: as many
 * output as input channels, no dilation along the width, at most 8 rows or 64 taps of kernel. With
 * n = kernel_height * kernel_width, r = (kernel_height + 1) / 2 and v = (out.width - 1) * stride_width + kernel_width
 * (input columns that a row of output touches): 16 * r * (kernel_width + v) + 16 * n + 256. All others need none: 0. Also
 * 0 if params is null, its sizes are not positive, or the result would not fit 31 bits.
 */
size_t edk_depthwise_conv_s8_scratch_bytes(const edk_depthwise_conv_params *params);

/* Convolve every channel by itself. Pointers, scratch and statuses as in edk_conv_s8; no overlap. Where no scratch is
 * needed, it may be null.
 */
edk_status edk_depthwise_conv_s8(const edk_depthwise_conv_params *params, const int8_t *input, int8_t *output,
                                 void *scratch, size_t scratch_bytes);

#ifdef __cplusplus
}
#endif

#endif
