/* SUB of int16, with broadcasting. */
#ifndef EDK_SUB_S16_H
#define EDK_SUB_S16_H

#include "edk_add_s16.h"

#ifdef __cplusplus
extern "C" {
#endif

/* output = input1 - input2; all else as edk_add_s16. */
edk_status edk_sub_s16(const edk_add_params *params, const int16_t *input1, const int16_t *input2, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
