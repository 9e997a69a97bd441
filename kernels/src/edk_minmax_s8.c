#include "edk_minmax_s8.h"

#define EDK_CODE int8_t
#include "edk_minmax_core.h"

edk_status edk_minmax_s8(const edk_minmax_params *params, const int8_t *input1, const int8_t *input2, int8_t *output)
{
    return minmax(params, input1, input2, output);
}
