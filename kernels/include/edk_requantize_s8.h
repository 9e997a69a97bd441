/* QUANTIZE from int8 to int8, computed. edk_lut_s8 does the same with fewer instructions and 256 bytes of table. */
#ifndef EDK_REQUANTIZE_S8_H
#define EDK_REQUANTIZE_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    edk_view in, out; /* same height, width and channels */
    int32_t multiplier;
    int8_t shift; /* -31 .. 22; from input scale / output scale */
    int16_t zero_point, out_zero_point;
} edk_requantize_params;

/* out = clip(scaled(in - zero_point) + out_zero_point, -128, 127); output may be input itself if both views are equal,
 * else no overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_requantize_s8(const edk_requantize_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
