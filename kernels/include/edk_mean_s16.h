/* MEAN of int16. */
#ifndef EDK_MEAN_S16_H
#define EDK_MEAN_S16_H

#include "edk_mean_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As edk_mean_s8, with zero points 0. count at most 65535. */
edk_status edk_mean_s16(const edk_mean_params *params, const int16_t *input, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
