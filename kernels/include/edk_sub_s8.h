/* SUB, int8, with broadcasting. */
#ifndef EDK_SUB_S8_H
#define EDK_SUB_S8_H

#include "edk_add_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* output = input1 - input2; parameters, aliasing and statuses of edk_add_s8. */
edk_status edk_sub_s8(const edk_add_params *params, const int8_t *input1, const int8_t *input2, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
