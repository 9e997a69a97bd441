#include "edk_sub_s16.h"

#include "edk_wide_add.h"

edk_status edk_sub_s16(const edk_add_params *params, const int16_t *input1, const int16_t *input2, int16_t *output)
{
    return edk_wide_add(params, input1, input2, output, -1);
}
