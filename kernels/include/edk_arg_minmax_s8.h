/* ARG_MAX and ARG_MIN of int8 codes, along one axis. */
#ifndef EDK_ARG_MINMAX_S8_H
#define EDK_ARG_MINMAX_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The input is [outer][count][inner], dense; the output [outer][inner]. */
typedef struct {
    int32_t outer, count, inner;
    int16_t minimum; /* 1: position of the smallest code, 0: of the largest */
} edk_arg_minmax_params;

/* Position of the first of equal codes; input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL or EDK_ERROR_SHAPE; nothing is written unless EDK_OK.
 */
edk_status edk_arg_minmax_s8(const edk_arg_minmax_params *params, const int8_t *input, int32_t *output);

#ifdef __cplusplus
}
#endif

#endif
