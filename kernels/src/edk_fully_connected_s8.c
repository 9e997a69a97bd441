#include "edk_fully_connected_s8.h"

#include "edk_check.h"
#include "edk_conv_s8.h"
#include "edk_fully_connected_rows.h"

#define EDK_DIRECT_ROWS 2 /* up to as many need no scratch */

/* The same as a 1x1 convolution over an image of one row. */
static edk_conv_params as_conv(const edk_fully_connected_params *p)
{
    const edk_view in = {1, p->rows, p->depth, p->depth, p->rows * p->depth};
    const edk_view out = {1, p->rows, p->channels, p->channels, p->rows * p->channels};
    const edk_window window = {1, 1, 1, 1, 1, 1, 0, 0};
    const edk_conv_params conv = {in, out, window, p->requant, p->weights, p->bias, 0};
    return conv;
}

size_t edk_fully_connected_s8_scratch_bytes(const edk_fully_connected_params *params)
{
    if (params == NULL || params->rows <= EDK_DIRECT_ROWS || params->depth < 1 || params->channels < 1) {
        return 0;
    }
    const edk_conv_params conv = as_conv(params);
    return edk_conv_s8_scratch_bytes(&conv);
}

edk_status edk_fully_connected_s8(const edk_fully_connected_params *params, const int8_t *input, int8_t *output,
                                  void *scratch, size_t scratch_bytes)
{
    if (params == NULL) {
        return EDK_ERROR_NULL;
    }
    if (params->rows < 1 || params->depth < 1 || params->channels < 1) {
        return EDK_ERROR_SHAPE;
    }
    const edk_conv_params conv = as_conv(params);
    if (params->rows > EDK_DIRECT_ROWS) {
        return edk_conv_s8(&conv, input, output, scratch, scratch_bytes);
    }
    if (input == NULL || output == NULL || params->weights == NULL || params->bias == NULL ||
        params->requant.multiplier == NULL || params->requant.shift == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_requant_ok(&params->requant)) {
        return EDK_ERROR_RANGE;
    }
    edk_fully_connected_rows(&conv, input, output);
    return EDK_OK;
}
