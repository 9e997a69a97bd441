/* REDUCE_MAX and REDUCE_MIN, int8, over neighbouring axes. */
#ifndef EDK_REDUCE_MINMAX_S8_H
#define EDK_REDUCE_MINMAX_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The input is [outer][count][inner], dense; the output [outer][inner]. Both share scale and zero point. */
typedef struct {
    int32_t outer, count, inner;
    int16_t minimum; /* 1: the smallest code, 0: the largest */
} edk_reduce_minmax_params;

/* input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL or EDK_ERROR_SHAPE; nothing is written unless EDK_OK.
 */
edk_status edk_reduce_minmax_s8(const edk_reduce_minmax_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
