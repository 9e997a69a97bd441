/* QUANTIZE from int8 to int16, as an exact table. */
#ifndef EDK_WIDEN_S8_H
#define EDK_WIDEN_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* table: 256 entries, indexed by the byte of the code: 0 .. 127, then -128 .. -1 (numerics/int16.py). */
typedef struct {
    edk_view in, out; /* same height, width and channels; strides in elements of the own type */
    const int16_t *table;
} edk_widen_params;

/* out = table[(uint8_t)in]; no overlap.
 * Returns EDK_OK, EDK_ERROR_NULL or EDK_ERROR_SHAPE; nothing is written unless EDK_OK.
 */
edk_status edk_widen_s8(const edk_widen_params *params, const int8_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
