#include "edk_mul_s16.h"

#include "edk_wide_scale.h"

static int in_range(const edk_mul_params *p)
{
    return p->zero_point1 == 0 && p->zero_point2 == 0 && p->out_zero_point == 0 && p->act_min <= p->act_max &&
           p->shift <= 14 && p->shift >= -31;
}

static void multiply_run(const edk_mul_params *p, const int16_t *input1, const int16_t *input2, int16_t *output)
{
    for (int i = 0; i < p->channels; i++) {
        output[i] = edk_clip_wide(edk_scale(*input1 * *input2, p->multiplier, p->shift), p->act_min, p->act_max);
        input1 += p->in1.channel;
        input2 += p->in2.channel;
    }
}

#define EDK_CODE int16_t
#include "edk_mul_core.h"

edk_status edk_mul_s16(const edk_mul_params *params, const int16_t *input1, const int16_t *input2, int16_t *output)
{
    return multiply(params, input1, input2, output);
}
