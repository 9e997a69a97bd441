#include "edk_minmax_s16.h"

#define EDK_CODE int16_t
#include "edk_minmax_core.h"

edk_status edk_minmax_s16(const edk_minmax_params *params, const int16_t *input1, const int16_t *input2,
                          int16_t *output)
{
    return minmax(params, input1, input2, output);
}
