#include "edk_reduce_minmax_s8.h"

#include <string.h>

edk_status edk_reduce_minmax_s8(const edk_reduce_minmax_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_reduce_minmax_params *p = params;
    if (p->outer < 1 || p->count < 1 || p->inner < 1) {
        return EDK_ERROR_SHAPE;
    }
    /* Row by row, so that memory is read in its order. */
    for (int32_t outer = 0; outer < p->outer; outer++, output += p->inner) {
        memcpy(output, input, (size_t)p->inner);
        input += p->inner;
        for (int32_t i = 1; i < p->count; i++, input += p->inner) {
            for (int32_t inner = 0; inner < p->inner; inner++) {
                if (input[inner] != output[inner] && (input[inner] < output[inner]) == (p->minimum != 0)) {
                    output[inner] = input[inner];
                }
            }
        }
    }
    return EDK_OK;
}
