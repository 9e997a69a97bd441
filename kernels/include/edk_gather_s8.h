/* GATHER along one axis with constant indices, int8. Evenly spaced indices are a strided copy: edk_transpose_s8.h. */
#ifndef EDK_GATHER_S8_H
#define EDK_GATHER_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The input is [outer][in_count][inner], dense; the output [outer][count][inner]. indices: count values of
 * 0 .. in_count - 1, in any order.
 */
typedef struct {
    int32_t outer, count, inner, in_count;
    const int32_t *indices;
} edk_gather_params;

/* out[o][i] = in[o][indices[i]]; input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE, or EDK_ERROR_RANGE if an index points outside the input; nothing is
 * written unless EDK_OK.
 */
edk_status edk_gather_s8(const edk_gather_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
