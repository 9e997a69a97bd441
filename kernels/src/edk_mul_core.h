/* MUL of one width of codes. The file that includes this defines EDK_CODE, its type, and before it
 *
 *   static int in_range(const edk_mul_params *p)                zero points, limits and shift
 *   static void multiply_run(p, input1, input2, output)         the codes of one pixel
 */
static edk_status multiply(const edk_mul_params *p, const EDK_CODE *input1, const EDK_CODE *input2, EDK_CODE *output)
{
    if (p == NULL || input1 == NULL || input2 == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    if (p->height < 1 || p->width < 1 || p->channels < 1 || p->out.channel != 1 || (p->in1.channel | 1) != 1 ||
        (p->in2.channel | 1) != 1) {
        return EDK_ERROR_SHAPE;
    }
    if (!in_range(p)) {
        return EDK_ERROR_RANGE;
    }
    for (int y = 0; y < p->height; y++) {
        for (int x = 0; x < p->width; x++) {
            multiply_run(p, input1 + (ptrdiff_t)y * p->in1.row + (ptrdiff_t)x * p->in1.pixel,
                         input2 + (ptrdiff_t)y * p->in2.row + (ptrdiff_t)x * p->in2.pixel,
                         output + (ptrdiff_t)y * p->out.row + (ptrdiff_t)x * p->out.pixel);
        }
    }
    return EDK_OK;
}
