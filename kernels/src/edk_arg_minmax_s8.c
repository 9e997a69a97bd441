#include "edk_arg_minmax_s8.h"

/* Position of the best of `count` codes that stand `step` apart. */
static int32_t best_of(const int8_t *codes, int32_t count, int32_t step, int minimum)
{
    int32_t best = 0;
    int code = *codes;
    for (int32_t i = 1; i < count; i++) {
        codes += step;
        if (minimum ? *codes < code : *codes > code) {
            code = *codes;
            best = i;
        }
    }
    return best;
}

edk_status edk_arg_minmax_s8(const edk_arg_minmax_params *params, const int8_t *input, int32_t *output)
{
    if (params == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_arg_minmax_params *p = params;
    if (p->outer < 1 || p->count < 1 || p->inner < 1) {
        return EDK_ERROR_SHAPE;
    }
    for (int32_t outer = 0; outer < p->outer; outer++, input += (ptrdiff_t)p->count * p->inner) {
        for (int32_t inner = 0; inner < p->inner; inner++) {
            *output++ = best_of(input + inner, p->count, p->inner, p->minimum);
        }
    }
    return EDK_OK;
}
