/* ADD of int16, with broadcasting. */
#ifndef EDK_ADD_S16_H
#define EDK_ADD_S16_H

#include "edk_add_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* output = input1 + input2. Parameters, aliasing and statuses of edk_add_s8, with zero points 0 and limits inside int16;
 * codes are shifted left by 15 bits instead of 20, so that out_multiplier/out_shift are from
 * 2 * max(s1, s2) / (2^15 * so).
 */
edk_status edk_add_s16(const edk_add_params *params, const int16_t *input1, const int16_t *input2, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
