#include "edk_transpose_conv_s8.h"

#include "edk_check.h"
#include "edk_scale.h"

/* Taps of one axis that meet at an output position, the last one first: tap, tap - stride, ... read the input at
 * position, position + 1, ... */
typedef struct {
    int tap, position, count;
} taps_of_axis;

static taps_of_axis meeting_taps(int out, int pad, int stride, int kernel, int size)
{
    const int place = out + pad; /* of the output, where input 0 times tap 0 is at 0 */
    taps_of_axis taps;
    taps.position = place < kernel ? 0 : (place - kernel) / stride + 1; /* first input that reaches so far */
    taps.tap = place - taps.position * stride;
    const int last = place / stride < size ? place / stride : size - 1;
    taps.count = last < taps.position ? 0 : last - taps.position + 1;
    return taps;
}

static int32_t dot(const int8_t *codes, const int8_t *weights, int count, int zero_point)
{
    int32_t sum = 0;
    for (int i = 0; i < count; i++) {
        sum += (codes[i] - zero_point) * weights[i];
    }
    return sum;
}

static void output_pixel(const edk_transpose_conv_params *p, const int8_t *input, int8_t *out, taps_of_axis rows,
                         taps_of_axis columns)
{
    const edk_window *w = &p->window;
    const edk_requant *r = &p->requant;
    const int depth = p->in.channels;
    const int8_t *filter = p->weights;
    for (int o = 0; o < p->out.channels; o++, filter += (ptrdiff_t)w->kernel_height * w->kernel_width * depth) {
        int32_t sum = p->bias == NULL ? 0 : p->bias[o];
        for (int i = 0; i < rows.count; i++) {
            const int8_t *row = input + (ptrdiff_t)(rows.position + i) * p->in.row_stride;
            const int8_t *taps = filter + (ptrdiff_t)(rows.tap - i * w->stride_height) * w->kernel_width * depth;
            for (int j = 0; j < columns.count; j++) {
                sum += dot(row + (ptrdiff_t)(columns.position + j) * p->in.pixel_stride,
                           taps + (ptrdiff_t)(columns.tap - j * w->stride_width) * depth, depth, p->input_zero_point);
            }
        }
        const int32_t scaled = edk_scale(sum, r->multiplier[o], r->shift[o]);
        out[o] = edk_clip_code(scaled, r->zero_point, r->act_min, r->act_max);
    }
}

static edk_status check(const edk_transpose_conv_params *p, const int8_t *input, const int8_t *output)
{
    if (p == NULL || input == NULL || output == NULL || p->weights == NULL || p->requant.multiplier == NULL ||
        p->requant.shift == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_window *w = &p->window;
    if (!edk_view_ok(&p->in) || !edk_view_ok(&p->out) || !edk_window_ok(w) || w->dilation_height != 1 ||
        w->dilation_width != 1 || edk_window_size(w, p->in.channels) == 0) {
        return EDK_ERROR_SHAPE;
    }
    return edk_requant_ok(&p->requant) && edk_is_code(p->input_zero_point) ? EDK_OK : EDK_ERROR_RANGE;
}

edk_status edk_transpose_conv_s8(const edk_transpose_conv_params *params, const int8_t *input, int8_t *output)
{
    const edk_status status = check(params, input, output);
    if (status != EDK_OK) {
        return status;
    }
    const edk_window *w = &params->window;
    for (int y = 0; y < params->out.height; y++) {
        const taps_of_axis rows = meeting_taps(y, w->pad_top, w->stride_height, w->kernel_height, params->in.height);
        int8_t *row = output + (ptrdiff_t)y * params->out.row_stride;
        for (int x = 0; x < params->out.width; x++) {
            const taps_of_axis columns =
                meeting_taps(x, w->pad_left, w->stride_width, w->kernel_width, params->in.width);
            output_pixel(params, input, row + (ptrdiff_t)x * params->out.pixel_stride, rows, columns);
        }
    }
    return EDK_OK;
}
