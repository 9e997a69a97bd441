/* What the kernels of int16 activations share: zero points are 0, weights int8, biases and accumulators 64 bits. */
#ifndef EDK_WIDE_H
#define EDK_WIDE_H

#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How accumulators of channel c become int16:
 *
 *     clip((accumulator * multiplier[c] + 2^(14 - shift[c])) >> (15 - shift[c]), act_min, act_max)
 *
 * one rounding, ties up; what does not fit int32 before the clip wraps, as in TFLite.
 * multiplier: 0 .. 32767, the upper half of TFLite's. shift: -31 .. 14.
 */
typedef struct {
    const int32_t *multiplier; /* one per output channel */
    const int8_t *shift;       /* one per output channel; positive: left */
    int16_t act_min;
    int16_t act_max;
} edk_requant_wide;

#ifdef __cplusplus
}
#endif

#endif
