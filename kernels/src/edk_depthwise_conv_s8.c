#include "edk_depthwise_conv_s8.h"

#include "edk_check.h"
#include "edk_depthwise_core.h"

size_t edk_depthwise_conv_s8_scratch_bytes(const edk_depthwise_conv_params *params)
{
    if (params == NULL || !edk_window_ok(&params->window) || params->out.width < 1) {
        return 0;
    }
    const edk_window *w = &params->window;
    const size_t n = edk_window_size(w, 1);
    if (n == 0) {
        return 0;
    }
    const uint64_t pairs = (uint64_t)(w->kernel_height + 1) / 2;
    const int64_t columns = (int64_t)(params->out.width - 1) * w->stride_width +
                            (int64_t)(w->kernel_width - 1) * w->dilation_width + 1;
    const uint64_t bytes = 16 * pairs * (uint64_t)(w->kernel_width + columns) + 16 * (uint64_t)n + 256;
    return bytes <= INT32_MAX ? (size_t)bytes : 0;
}

static edk_status check(const edk_depthwise_conv_params *params, const int8_t *input, int8_t *output,
                        const void *scratch, size_t scratch_bytes)
{
    if (params == NULL || input == NULL || output == NULL || scratch == NULL || params->weights == NULL ||
        params->bias == NULL || params->requant.multiplier == NULL || params->requant.shift == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_view_ok(&params->in) || !edk_view_ok(&params->out) || !edk_window_ok(&params->window) ||
        edk_depthwise_conv_s8_scratch_bytes(params) == 0 || params->out.channels % params->in.channels != 0) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_requant_ok(&params->requant) || !edk_is_code(params->input_zero_point)) {
        return EDK_ERROR_RANGE;
    }
    if (!edk_is_aligned(scratch, 4)) {
        return EDK_ERROR_ALIGNMENT;
    }
    return scratch_bytes < edk_depthwise_conv_s8_scratch_bytes(params) ? EDK_ERROR_SCRATCH : EDK_OK;
}

edk_status edk_depthwise_conv_s8(const edk_depthwise_conv_params *params, const int8_t *input, int8_t *output,
                                 void *scratch, size_t scratch_bytes)
{
    const edk_status status = check(params, input, output, scratch, scratch_bytes);
    if (status == EDK_OK) {
        edk_depthwise_core(params, input, output, scratch);
    }
    return status;
}
