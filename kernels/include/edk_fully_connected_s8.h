/* FULLY_CONNECTED, int8. */
#ifndef EDK_FULLY_CONNECTED_S8_H
#define EDK_FULLY_CONNECTED_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* weights: [channels][depth]; bias with the input's zero point folded in, requant per output channel (repeat a single
 * scale), accumulators: as in edk_conv_s8.h.
 */
typedef struct {
    int16_t rows, depth, channels;
    edk_requant requant;
    const int8_t *weights;
    const int32_t *bias;
} edk_fully_connected_params;

/* Scratch in bytes, the same on every processor: none for one or two rows, else 10 * (depth rounded up to 8) + 16. 0 if
 * params is null or its sizes are not positive. */
size_t edk_fully_connected_s8_scratch_bytes(const edk_fully_connected_params *params);

/* output[r][o] = requantize(bias[o] + sum of input[r][i] * weights[o][i]); input [rows][depth], output [rows][channels],
 * dense. Pointers, scratch and statuses as in edk_conv_s8; where no scratch is needed, it may be null.
 */
edk_status edk_fully_connected_s8(const edk_fully_connected_params *params, const int8_t *input, int8_t *output,
                                  void *scratch, size_t scratch_bytes);

#ifdef __cplusplus
}
#endif

#endif
