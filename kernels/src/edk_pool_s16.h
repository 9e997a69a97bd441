/* A pooling of int16. The file that includes this defines before it
 *
 *   static int16_t pooled(const edk_pool_params *p, const int16_t *input, edk_pool_span span)    one code
 */
static edk_status pool(const edk_pool_params *p, const int16_t *input, int16_t *output, int most_taps)
{
    if (p == NULL || input == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_pool_shape_ok(p) || p->window.kernel_height * p->window.kernel_width > most_taps) {
        return EDK_ERROR_SHAPE;
    }
    if (p->act_min > p->act_max) {
        return EDK_ERROR_RANGE;
    }
    for (int y = 0; y < p->out.height; y++) {
        for (int x = 0; x < p->out.width; x++) {
            const edk_pool_span span = edk_pool_window(p, y, x);
            int16_t *out = output + (ptrdiff_t)y * p->out.row_stride + (ptrdiff_t)x * p->out.pixel_stride;
            for (int c = 0; c < p->out.channels; c++) {
                out[c] = pooled(p, input + c, span);
            }
        }
    }
    return EDK_OK;
}
