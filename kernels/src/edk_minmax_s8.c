#include "edk_minmax_s8.h"

#include "edk_broadcast_loop.h"

static void choose(const void *params, const int8_t *input1, const int8_t *input2, int8_t *output)
{
    const edk_minmax_params *p = (const edk_minmax_params *)params;
    const int step1 = p->sizes.in1.channel, step2 = p->sizes.in2.channel;
    for (int i = 0; i < p->sizes.channels; i++, input1 += step1, input2 += step2) {
        output[i] = (*input1 < *input2) == (p->minimum != 0) ? *input1 : *input2;
    }
}

edk_status edk_minmax_s8(const edk_minmax_params *params, const int8_t *input1, const int8_t *input2, int8_t *output)
{
    if (params == NULL || input1 == NULL || input2 == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_broadcast_ok(&params->sizes)) {
        return EDK_ERROR_SHAPE;
    }
    edk_broadcast_each(&params->sizes, choose, params, input1, input2, output);
    return EDK_OK;
}
