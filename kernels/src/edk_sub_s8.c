#include "edk_sub_s8.h"

#include "edk_add_core.h"

edk_status edk_sub_s8(const edk_add_params *params, const int8_t *input1, const int8_t *input2, int8_t *output)
{
    return edk_add_any(params, input1, input2, output, -1);
}
