/* MUL of int16, with broadcasting. */
#ifndef EDK_MUL_S16_H
#define EDK_MUL_S16_H

#include "edk_mul_s8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* output = input1 * input2. Parameters, aliasing and statuses of edk_mul_s8, with zero points 0 and limits inside int16.
 * Products of codes fit 32 bits.
 */
edk_status edk_mul_s16(const edk_mul_params *params, const int16_t *input1, const int16_t *input2, int16_t *output);

#ifdef __cplusplus
}
#endif

#endif
