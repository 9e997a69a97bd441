#include "edk_concat_s8.h"

#include <string.h>

edk_status edk_concat_s8(const edk_concat_params *params, const int8_t *const *inputs, int8_t *output)
{
    if (params == NULL || inputs == NULL || output == NULL || params->part_bytes == NULL) {
        return EDK_ERROR_NULL;
    }
    if (params->outer < 1 || params->parts < 1) {
        return EDK_ERROR_SHAPE;
    }
    for (int32_t i = 0; i < params->parts; i++) {
        if (inputs[i] == NULL) {
            return EDK_ERROR_NULL;
        }
        if (params->part_bytes[i] < 1) {
            return EDK_ERROR_SHAPE;
        }
    }
    for (int32_t row = 0; row < params->outer; row++) {
        for (int32_t i = 0; i < params->parts; i++) {
            const int32_t bytes = params->part_bytes[i];
            memcpy(output, inputs[i] + (ptrdiff_t)row * bytes, (size_t)bytes);
            output += bytes;
        }
    }
    return EDK_OK;
}
