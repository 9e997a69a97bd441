/* CONV_2D, int8. */
#ifndef EDK_CONV_S8_H
#define EDK_CONV_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* weights: [out.channels][kernel_height][kernel_width][in.channels], -128 .. 127, zero point 0; any alignment, but
 *     4 bytes (EDK_ALIGN) is quicker.
 * bias: one per output channel, with the input's zero point folded in:
 *     bias[o] = operator's bias[o] - input_zero_point * sum of weights[o].
 * input_zero_point: code that taps outside the input read; -128 .. 127.
 * Accumulators are int32 and start at bias[o]. For all codes of the input, bias[o] + sum of code * weight must stay inside
 * int32; whoever makes the parameters checks it. Sums on the way then do, too: code 0 is among the codes.
 */
typedef struct {
    edk_view in, out;
    edk_window window;
    edk_requant requant;
    const int8_t *weights;
    const int32_t *bias;
    int16_t input_zero_point;
} edk_conv_params;

/* Scratch of edk_conv_s8 in bytes: four unfolded windows as int16, one as int8, and a filter. With
 * n = kernel_height * kernel_width * in.channels: 10 * (n rounded up to 8) + 16. The same on every processor. 0 if params
 * is null, its sizes are not positive, or n exceeds 2^20.
 */
size_t edk_conv_s8_scratch_bytes(const edk_conv_params *params);

/* Convolve: out(y, x, o) = requantize(bias[o] + sum over taps of input code * weight).
 *
 * input, output: described by params->in and params->out; they must not overlap.
 * scratch: aligned to 4 bytes, may hold anything; its content afterwards is unspecified.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE, EDK_ERROR_RANGE, EDK_ERROR_SCRATCH or EDK_ERROR_ALIGNMENT; nothing
 * is written unless EDK_OK.
 */
edk_status edk_conv_s8(const edk_conv_params *params, const int8_t *input, int8_t *output, void *scratch,
                       size_t scratch_bytes);

#ifdef __cplusplus
}
#endif

#endif
