/* LOGISTIC of int16: interpolated between 256 values of the function. The output's scale is 2^-15. */
#ifndef EDK_LOGISTIC_S16_H
#define EDK_LOGISTIC_S16_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    edk_view in, out; /* same height, width and channels; strides in elements */
    /* 0 .. 65534; code * multiplier * 2^-shift counts steps of 1/12288 of the function's argument */
    int32_t multiplier;
    int8_t shift;         /* 0 .. 31 */
    const int32_t *table; /* 256 values in units of 2^-16, one every 512 steps (edgedet/numerics/int16.py) */
} edk_logistic_params;

/* output may be input itself if both views are equal, else no overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_logistic_s16(const edk_logistic_params *params, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
