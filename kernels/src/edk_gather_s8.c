#include "edk_gather_s8.h"

#include <string.h>

edk_status edk_gather_s8(const edk_gather_params *params, const int8_t *input, int8_t *output)
{
    if (params == NULL || input == NULL || output == NULL || params->indices == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_gather_params *p = params;
    if (p->outer < 1 || p->count < 1 || p->inner < 1 || p->in_count < 1) {
        return EDK_ERROR_SHAPE;
    }
    for (int32_t i = 0; i < p->count; i++) {
        if (p->indices[i] < 0 || p->indices[i] >= p->in_count) {
            return EDK_ERROR_RANGE;
        }
    }
    for (int32_t o = 0; o < p->outer; o++, input += (ptrdiff_t)p->in_count * p->inner) {
        for (int32_t i = 0; i < p->count; i++, output += p->inner) {
            memcpy(output, input + (ptrdiff_t)p->indices[i] * p->inner, (size_t)p->inner);
        }
    }
    return EDK_OK;
}
