#include "edk_conv_s8.h"

#include <string.h>

#include "edk_check.h"
#include "edk_conv_core.h"

size_t edk_conv_s8_scratch_bytes(const edk_conv_params *params)
{
    if (params == NULL || !edk_window_ok(&params->window) || params->in.channels < 1) {
        return 0;
    }
    const size_t n = edk_window_size(&params->window, params->in.channels);
    return n == 0 ? 0 : 10 * ((n + 7) / 8 * 8) + 16;
}

static edk_status check(const edk_conv_params *params, const int8_t *input, int8_t *output, const void *scratch,
                        size_t scratch_bytes)
{
    if (params == NULL || input == NULL || output == NULL || scratch == NULL || params->weights == NULL ||
        params->bias == NULL || params->requant.multiplier == NULL || params->requant.shift == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_view_ok(&params->in) || !edk_view_ok(&params->out) || !edk_window_ok(&params->window) ||
        edk_window_size(&params->window, params->in.channels) == 0) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_requant_ok(&params->requant) || !edk_is_code(params->input_zero_point)) {
        return EDK_ERROR_RANGE;
    }
    if (!edk_is_aligned(scratch, 4)) {
        return EDK_ERROR_ALIGNMENT;
    }
    return scratch_bytes < edk_conv_s8_scratch_bytes(params) ? EDK_ERROR_SCRATCH : EDK_OK;
}

edk_status edk_conv_s8(const edk_conv_params *params, const int8_t *input, int8_t *output, void *scratch,
                       size_t scratch_bytes)
{
    const edk_status status = check(params, input, output, scratch, scratch_bytes);
    if (status != EDK_OK) {
        return status;
    }
    int8_t *out[EDK_CONV_PIXELS] = {NULL};
    edk_conv_block block;
    edk_conv_block_init(&block, params, scratch);
    int filled = 0;
    for (int y = 0; y < params->out.height; y++) {
        int8_t *row = output + (ptrdiff_t)y * params->out.row_stride;
        for (int x = 0; x < params->out.width; x++) {
            edk_conv_block_fill(&block, filled, input, y, x);
            out[filled++] = row + (ptrdiff_t)x * params->out.pixel_stride;
            if (filled == EDK_CONV_PIXELS) {
                edk_conv_block_multiply(&block, filled, out);
                filled = 0;
            }
        }
    }
    if (filled > 0) {
        edk_conv_block_multiply(&block, filled, out);
    }
    return EDK_OK;
}
