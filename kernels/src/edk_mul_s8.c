#include "edk_mul_s8.h"

#include "edk_check.h"
#include "edk_scale.h"

static int in_range(const edk_mul_params *p)
{
    return edk_is_code(p->zero_point1) && edk_is_code(p->zero_point2) && edk_is_code(p->out_zero_point) &&
           edk_limits_ok(p->act_min, p->act_max) && p->shift <= 14 && p->shift >= -31;
}

static void multiply_run(const edk_mul_params *p, const int8_t *input1, const int8_t *input2, int8_t *output)
{
    for (int i = 0; i < p->channels; i++) {
        const int32_t product = (*input1 - p->zero_point1) * (*input2 - p->zero_point2);
        output[i] =
            edk_clip_code(edk_scale(product, p->multiplier, p->shift), p->out_zero_point, p->act_min, p->act_max);
        input1 += p->in1.channel;
        input2 += p->in2.channel;
    }
}

#define EDK_CODE int8_t
#include "edk_mul_core.h"

edk_status edk_mul_s8(const edk_mul_params *params, const int8_t *input1, const int8_t *input2, int8_t *output)
{
    return multiply(params, input1, input2, output);
}
