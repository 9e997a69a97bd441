/* MAXIMUM and MINIMUM, int8, with broadcasting. With a constant number, use a table instead (edk_lut_s8.h). */
#ifndef EDK_MINMAX_S8_H
#define EDK_MINMAX_S8_H

#include "edk_broadcast.h"
#include "edk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Both inputs and the output share scale and zero point. */
typedef struct {
    edk_broadcast sizes;
    int16_t minimum; /* 1: the smaller code, 0: the larger */
} edk_minmax_params;

/* output may be one of the inputs if their steps are equal, else no overlap.
 * Returns EDK_OK, EDK_ERROR_NULL or EDK_ERROR_SHAPE; nothing is written unless EDK_OK.
 */
edk_status edk_minmax_s8(const edk_minmax_params *params, const int8_t *input1, const int8_t *input2, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
