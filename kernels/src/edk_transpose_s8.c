#include "edk_transpose_s8.h"

edk_status edk_transpose_s8(const edk_transpose_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    for (int axis = 0; axis < EDK_TRANSPOSE_AXES; axis++) {
        if (params->size[axis] < 1) {
            return EDK_ERROR_SHAPE;
        }
    }
    const int last = EDK_TRANSPOSE_AXES - 1;
    int32_t index[EDK_TRANSPOSE_AXES] = {0};
    for (;;) {
        const int8_t *from = input;
        for (int32_t i = 0; i < params->size[last]; i++, from += params->step[last]) {
            *output++ = *from;
        }
        int axis = last - 1;
        for (; axis >= 0 && ++index[axis] == params->size[axis]; axis--) {
            index[axis] = 0;
            input -= (ptrdiff_t)(params->size[axis] - 1) * params->step[axis];
        }
        if (axis < 0) {
            return EDK_OK;
        }
        input += params->step[axis];
    }
}
