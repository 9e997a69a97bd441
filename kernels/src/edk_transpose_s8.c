#include "edk_transpose_s8.h"

#include <string.h>

/* Copy `count` codes that stand `step` apart; gives the end of what was written. */
static int8_t *copy_run(const int8_t *from, int8_t *to, int32_t count, int32_t step)
{
    if (step == 1) {
        memcpy(to, from, (size_t)count);
        return to + count;
    }
    for (int32_t i = 0; i < count; i++, from += step) {
        *to++ = *from;
    }
    return to;
}

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
        output = copy_run(input, output, params->size[last], params->step[last]);
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
