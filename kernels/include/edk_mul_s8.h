/* MUL, int8, with broadcasting. */
#ifndef EDK_MUL_S8_H
#define EDK_MUL_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* multiplier/shift from s1 * s2 / so. Steps as in edk_add_s8.h; out.channel must be 1. Products of codes fit 17 bits. */
typedef struct {
    int16_t height, width, channels;
    edk_steps in1, in2, out;
    int32_t multiplier;
    int8_t shift; /* -31 .. 14 */
    int16_t zero_point1, zero_point2, out_zero_point;
    int16_t act_min, act_max;
} edk_mul_params;

/* output = input1 * input2; aliasing and statuses of edk_add_s8. */
edk_status edk_mul_s8(const edk_mul_params *params, const int8_t *input1, const int8_t *input2, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
