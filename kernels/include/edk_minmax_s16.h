/* MAXIMUM and MINIMUM of int16, with broadcasting. */
#ifndef EDK_MINMAX_S16_H
#define EDK_MINMAX_S16_H

#include "edk_minmax_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Parameters, aliasing and statuses of edk_minmax_s8. */
edk_status edk_minmax_s16(const edk_minmax_params *params, const int16_t *input1, const int16_t *input2,
                          int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
