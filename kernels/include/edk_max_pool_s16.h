/* MAX_POOL_2D of int16. */
#ifndef EDK_MAX_POOL_S16_H
#define EDK_MAX_POOL_S16_H

#include "edk_max_pool_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As edk_max_pool_s8, with strides in elements and limits inside int16. */
edk_status edk_max_pool_s16(const edk_pool_params *params, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
