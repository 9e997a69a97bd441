#include "edk_depthwise_conv_s8.h"

#include "edk_check.h"
#include "edk_depthwise_core.h"

#define EDK_PLANE_ROWS 8  /* of a kernel that edk_depthwise_dsp.h gathers in planes */
#define EDK_PLANE_TAPS 64 /* and that edk_depthwise_mve.h does */

/* Whether the core of some processor gathers planes; the others and the rest are computed where the codes are. */
static int needs_planes(const edk_depthwise_conv_params *p)
{
    const edk_window *w = &p->window;
    return p->out.channels == p->in.channels && w->dilation_width == 1 &&
           (w->kernel_height <= EDK_PLANE_ROWS || w->kernel_height * w->kernel_width <= EDK_PLANE_TAPS);
}

/* Bytes of the planes. The sizes must be positive. */
static uint64_t plane_bytes(const edk_depthwise_conv_params *p)
{
    const edk_window *w = &p->window;
    const uint64_t pairs = (uint64_t)(w->kernel_height + 1) / 2;
    const int64_t columns = (int64_t)(p->out.width - 1) * w->stride_width + w->kernel_width;
    const uint64_t taps = edk_window_size(w, 1);
    return 16 * pairs * (uint64_t)(w->kernel_width + columns) + 16 * taps + 256;
}

static int sizes_ok(const edk_depthwise_conv_params *p)
{
    return edk_window_ok(&p->window) && edk_window_size(&p->window, 1) != 0 && p->out.width >= 1 &&
           (!needs_planes(p) || plane_bytes(p) <= INT32_MAX);
}

size_t edk_depthwise_conv_s8_scratch_bytes(const edk_depthwise_conv_params *params)
{
    return params != NULL && sizes_ok(params) && needs_planes(params) ? (size_t)plane_bytes(params) : 0;
}

static edk_status check(const edk_depthwise_conv_params *params, const int8_t *input, int8_t *output,
                        const void *scratch, size_t scratch_bytes)
{
    if (params == NULL || input == NULL || output == NULL || params->weights == NULL || params->bias == NULL ||
        params->requant.multiplier == NULL || params->requant.shift == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_view_ok(&params->in) || !edk_view_ok(&params->out) || !sizes_ok(params) ||
        params->out.channels % params->in.channels != 0) {
        return EDK_ERROR_SHAPE;
    }
    if (!edk_requant_ok(&params->requant) || !edk_is_code(params->input_zero_point)) {
        return EDK_ERROR_RANGE;
    }
    const size_t needed = edk_depthwise_conv_s8_scratch_bytes(params);
    if (needed == 0) {
        return EDK_OK;
    }
    if (scratch == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_is_aligned(scratch, 4)) {
        return EDK_ERROR_ALIGNMENT;
    }
    return scratch_bytes < needed ? EDK_ERROR_SCRATCH : EDK_OK;
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
