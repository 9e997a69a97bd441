/* AVERAGE_POOL_2D, int8. */
#ifndef EDK_AVERAGE_POOL_S8_H
#define EDK_AVERAGE_POOL_S8_H

#include "edk_max_pool_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Mean of the codes inside the window and inside the input, ties away from zero, clipped to act_min .. act_max.
 * Parameters, aliasing and statuses of edk_max_pool_s8. Sums are int32: windows of up to 2^23 elements.
 */
edk_status edk_average_pool_s8(const edk_pool_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
