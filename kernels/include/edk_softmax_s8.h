/* SOFTMAX along the channels. */
#ifndef EDK_SOFTMAX_S8_H
#define EDK_SOFTMAX_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EDK_SOFTMAX_MAX_CHANNELS 4095 /* whose sum always fits the accumulator */

/* exps: 256 entries: exp(-beta * scale * d) * 2^31 of every difference d = 0 .. 255 of a code to the largest one of its
 * pixel, 0 where it is too small to count; entry 0 is 2^31 - 1 (numerics/softmax.py).
 */
typedef struct {
    edk_view in, out; /* same height, width and channels */
    const int32_t *exps;
} edk_softmax_params;

/* out = round(256 * exp / sum of exps) - 128, in the fixed point of TFLite Micro's reference kernel: scale 1/256, zero
 * point -128. Sums are exact in 12.19 bits. Output may be input itself if both views are equal, else no overlap.
 * Returns EDK_OK, EDK_ERROR_NULL or EDK_ERROR_SHAPE; nothing is written unless EDK_OK.
 */
edk_status edk_softmax_s8(const edk_softmax_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
