/* Any elementwise int8 function of one input, as an exact table: LOGISTIC, TANH, HARD_SWISH, RELU, LEAKY_RELU,
 * QUANTIZE from int8 to int8. */
#ifndef EDK_LUT_S8_H
#define EDK_LUT_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* table: 256 entries, indexed by the byte of the code: 0 .. 127, then -128 .. -1 (numerics/tables.py). */
typedef struct {
    edk_view in, out; /* same height, width and channels */
    const int8_t *table;
} edk_lut_params;

/* out = table[(uint8_t)in]; output may be input itself if both views are equal, else no overlap.
 * Returns EDK_OK, EDK_ERROR_NULL or EDK_ERROR_SHAPE; nothing is written unless EDK_OK.
 */
edk_status edk_lut_s8(const edk_lut_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
