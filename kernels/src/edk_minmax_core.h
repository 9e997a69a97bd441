/* MAXIMUM and MINIMUM of one width of codes; the file that includes this defines EDK_CODE, its type. */
#include "edk_broadcast_loop.h"
#include "edk_minmax_s8.h"

static void choose(const void *params, const void *inputs1, const void *inputs2, void *outputs)
{
    const edk_minmax_params *p = (const edk_minmax_params *)params;
    const EDK_CODE *input1 = (const EDK_CODE *)inputs1, *input2 = (const EDK_CODE *)inputs2;
    EDK_CODE *output = (EDK_CODE *)outputs;
    const int step1 = p->sizes.in1.channel, step2 = p->sizes.in2.channel;
    for (int i = 0; i < p->sizes.channels; i++, input1 += step1, input2 += step2) {
        output[i] = *((*input1 < *input2) == (p->minimum != 0) ? input1 : input2);
    }
}

static edk_status minmax(const edk_minmax_params *params, const EDK_CODE *input1, const EDK_CODE *input2,
                         EDK_CODE *output)
{
    if (params == NULL || input1 == NULL || input2 == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_broadcast_ok(&params->sizes)) {
        return EDK_ERROR_SHAPE;
    }
    edk_broadcast_each(&params->sizes, choose, params, (int)sizeof(EDK_CODE), input1, input2, output);
    return EDK_OK;
}
