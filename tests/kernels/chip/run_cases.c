/* Runs the kernels on recorded cases: reads cases.bin, writes results.bin. Made for a PC and for bare metal.
 *
 * The files are described in cases.h. A case starts with its operator, the bytes of output, and 1 if output is the first
 * input itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "edk.h"

/* Null for none: whoever needs no scratch must not touch any. */
static void *scratch_memory(size_t bytes)
{
    return bytes == 0 ? NULL : memset(memory(bytes), SCRATCH, bytes);
}

static edk_view take_view(void)
{
    edk_view v;
    v.height = take16();
    v.width = take16();
    v.channels = take16();
    v.pixel_stride = take16();
    v.row_stride = take();
    return v;
}

static edk_steps take_steps(void)
{
    edk_steps s;
    s.row = take();
    s.pixel = take16();
    s.channel = take16();
    return s;
}

static edk_window take_window(void)
{
    edk_window w;
    w.kernel_height = take16();
    w.kernel_width = take16();
    w.stride_height = take16();
    w.stride_width = take16();
    w.dilation_height = take16();
    w.dilation_width = take16();
    w.pad_top = take16();
    w.pad_left = take16();
    return w;
}

/* Multipliers and shifts are arrays 3 and 4 of an operator with weights. */
static edk_requant take_requant(void)
{
    edk_requant r;
    r.multiplier = (const int32_t *)arrays[3];
    r.shift = (const int8_t *)arrays[4];
    r.zero_point = take16();
    r.act_min = take16();
    r.act_max = take16();
    r.flags = take16();
    return r;
}

static uint32_t started;

#define TIMED(call) (started = ticks_now(), status = (call), *ticks = ticks_since(started))

static edk_status run_conv(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_conv_params p;
    p.in = take_view();
    p.out = take_view();
    p.window = take_window();
    p.requant = take_requant();
    p.input_zero_point = take16();
    p.weights = (const int8_t *)arrays[1];
    p.bias = (const int32_t *)arrays[2];
    const size_t bytes = edk_conv_s8_scratch_bytes(&p);
    void *scratch = scratch_memory(bytes);
    TIMED(edk_conv_s8(&p, arrays[0], out, scratch, bytes));
    free(scratch);
    return status;
}

static edk_status run_depthwise(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_depthwise_conv_params p;
    p.in = take_view();
    p.out = take_view();
    p.window = take_window();
    p.requant = take_requant();
    p.input_zero_point = take16();
    p.weights = (const int8_t *)arrays[1];
    p.bias = (const int32_t *)arrays[2];
    const size_t bytes = edk_depthwise_conv_s8_scratch_bytes(&p);
    void *scratch = scratch_memory(bytes);
    TIMED(edk_depthwise_conv_s8(&p, arrays[0], out, scratch, bytes));
    free(scratch);
    return status;
}

static edk_status run_fully_connected(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_fully_connected_params p;
    p.rows = take16();
    p.depth = take16();
    p.channels = take16();
    p.requant = take_requant();
    p.weights = (const int8_t *)arrays[1];
    p.bias = (const int32_t *)arrays[2];
    const size_t bytes = edk_fully_connected_s8_scratch_bytes(&p);
    void *scratch = scratch_memory(bytes);
    TIMED(edk_fully_connected_s8(&p, arrays[0], out, scratch, bytes));
    free(scratch);
    return status;
}

static edk_status run_add(int8_t *out, uint32_t *ticks, int subtract)
{
    edk_status status;
    edk_add_params p;
    p.height = take16();
    p.width = take16();
    p.channels = take16();
    p.in1 = take_steps();
    p.in2 = take_steps();
    p.out = take_steps();
    p.multiplier1 = take();
    p.shift1 = (int8_t)take();
    p.multiplier2 = take();
    p.shift2 = (int8_t)take();
    p.out_multiplier = take();
    p.out_shift = (int8_t)take();
    p.zero_point1 = take16();
    p.zero_point2 = take16();
    p.out_zero_point = take16();
    p.act_min = take16();
    p.act_max = take16();
    if (subtract) {
        TIMED(edk_sub_s8(&p, arrays[0], arrays[1], out));
    } else {
        TIMED(edk_add_s8(&p, arrays[0], arrays[1], out));
    }
    return status;
}

static edk_status run_mul(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_mul_params p;
    p.height = take16();
    p.width = take16();
    p.channels = take16();
    p.in1 = take_steps();
    p.in2 = take_steps();
    p.out = take_steps();
    p.multiplier = take();
    p.shift = (int8_t)take();
    p.zero_point1 = take16();
    p.zero_point2 = take16();
    p.out_zero_point = take16();
    p.act_min = take16();
    p.act_max = take16();
    TIMED(edk_mul_s8(&p, arrays[0], arrays[1], out));
    return status;
}

static edk_status run_pool(int8_t *out, uint32_t *ticks, int average)
{
    edk_status status;
    edk_pool_params p;
    p.in = take_view();
    p.out = take_view();
    p.window = take_window();
    p.act_min = take16();
    p.act_max = take16();
    if (average) {
        TIMED(edk_average_pool_s8(&p, arrays[0], out));
    } else {
        TIMED(edk_max_pool_s8(&p, arrays[0], out));
    }
    return status;
}

static edk_status run_mean(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_mean_params p;
    p.outer = take();
    p.count = take();
    p.inner = take();
    p.multiplier = take();
    p.shift = (int8_t)take();
    p.zero_point = take16();
    p.out_zero_point = take16();
    TIMED(edk_mean_s8(&p, arrays[0], out));
    return status;
}

static edk_status run_resize(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_resize_nearest_params p;
    p.in = take_view();
    p.out = take_view();
    p.rows = (const int16_t *)arrays[1];
    p.columns = (const int16_t *)arrays[2];
    TIMED(edk_resize_nearest_s8(&p, arrays[0], out));
    return status;
}

static edk_status run_pad(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_pad_params p;
    p.in = take_view();
    p.out = take_view();
    p.top = take16();
    p.left = take16();
    p.front = take16();
    p.fill = take16();
    TIMED(edk_pad_s8(&p, arrays[0], out));
    return status;
}

static edk_status run_copy(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_copy_params p;
    p.in = take_view();
    p.out = take_view();
    TIMED(edk_copy_s8(&p, arrays[0], out));
    return status;
}

static edk_status run_lut(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_lut_params p;
    p.in = take_view();
    p.out = take_view();
    p.table = (const int8_t *)arrays[1];
    TIMED(edk_lut_s8(&p, arrays[0], out));
    return status;
}

static edk_status run_requantize(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_requantize_params p;
    p.in = take_view();
    p.out = take_view();
    p.multiplier = take();
    p.shift = (int8_t)take();
    p.zero_point = take16();
    p.out_zero_point = take16();
    TIMED(edk_requantize_s8(&p, arrays[0], out));
    return status;
}

static edk_status run_transpose(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_transpose_params p;
    for (int i = 0; i < EDK_TRANSPOSE_AXES; i++) {
        p.size[i] = take();
    }
    for (int i = 0; i < EDK_TRANSPOSE_AXES; i++) {
        p.step[i] = take();
    }
    TIMED(edk_transpose_s8(&p, arrays[0], out));
    return status;
}

/* Array 0 holds the bytes of each part; the others are the parts. */
static edk_status run_concat(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_concat_params p;
    const int8_t *inputs[MAX_ARRAYS];
    p.outer = take();
    p.parts = array_count - 1;
    p.part_bytes = (const int32_t *)arrays[0];
    for (int32_t i = 0; i < p.parts; i++) {
        inputs[i] = arrays[i + 1];
    }
    TIMED(edk_concat_s8(&p, inputs, out));
    return status;
}

static edk_status run_gather(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_gather_params p;
    p.outer = take();
    p.count = take();
    p.inner = take();
    p.in_count = take();
    p.indices = (const int32_t *)arrays[1];
    TIMED(edk_gather_s8(&p, arrays[0], out));
    return status;
}

static edk_status run_transpose_conv(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_transpose_conv_params p;
    p.in = take_view();
    p.out = take_view();
    p.window = take_window();
    p.requant = take_requant();
    p.input_zero_point = take16();
    p.weights = (const int8_t *)arrays[1];
    p.bias = (const int32_t *)arrays[2];
    TIMED(edk_transpose_conv_s8(&p, arrays[0], out));
    return status;
}

static edk_status run_resize_bilinear(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_resize_bilinear_params p;
    p.in = take_view();
    p.out = take_view();
    p.rows = (const int16_t *)arrays[1];
    p.columns = (const int16_t *)arrays[2];
    TIMED(edk_resize_bilinear_s8(&p, arrays[0], out));
    return status;
}

static edk_broadcast take_broadcast(void)
{
    edk_broadcast b;
    b.height = take16();
    b.width = take16();
    b.channels = take16();
    b.in1 = take_steps();
    b.in2 = take_steps();
    b.out = take_steps();
    return b;
}

static edk_status run_minmax(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_minmax_params p;
    p.sizes = take_broadcast();
    p.minimum = take16();
    TIMED(edk_minmax_s8(&p, arrays[0], arrays[1], out));
    return status;
}

static edk_status run_prelu(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_prelu_params p;
    p.sizes = take_broadcast();
    p.multiplier = take();
    p.shift = (int8_t)take();
    p.slope_multiplier = take();
    p.slope_shift = (int8_t)take();
    p.zero_point = take16();
    p.slope_zero_point = take16();
    p.out_zero_point = take16();
    TIMED(edk_prelu_s8(&p, arrays[0], arrays[1], out));
    return status;
}

static edk_status run_reduce_minmax(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_reduce_minmax_params p;
    p.outer = take();
    p.count = take();
    p.inner = take();
    p.minimum = take16();
    TIMED(edk_reduce_minmax_s8(&p, arrays[0], out));
    return status;
}

static edk_status run_arg_minmax(int8_t *out, uint32_t *ticks)
{
    edk_status status;
    edk_arg_minmax_params p;
    p.outer = take();
    p.count = take();
    p.inner = take();
    p.minimum = take16();
    TIMED(edk_arg_minmax_s8(&p, arrays[0], (int32_t *)(void *)out));
    return status;
}

static edk_status run(int32_t operator_number, int8_t *out, uint32_t *ticks)
{
    next_integer = 0;
    switch (operator_number) {
    case 0:
        return run_conv(out, ticks);
    case 1:
        return run_depthwise(out, ticks);
    case 2:
        return run_fully_connected(out, ticks);
    case 3:
        return run_add(out, ticks, 0);
    case 4:
        return run_add(out, ticks, 1);
    case 5:
        return run_mul(out, ticks);
    case 6:
        return run_pool(out, ticks, 0);
    case 7:
        return run_pool(out, ticks, 1);
    case 8:
        return run_mean(out, ticks);
    case 9:
        return run_resize(out, ticks);
    case 10:
        return run_pad(out, ticks);
    case 11:
        return run_copy(out, ticks);
    case 12:
        return run_lut(out, ticks);
    case 13:
        return run_requantize(out, ticks);
    case 14:
        return run_transpose(out, ticks);
    case 15:
        return run_concat(out, ticks);
    case 16:
        return run_gather(out, ticks);
    case 17:
        return run_transpose_conv(out, ticks);
    case 18:
        return run_resize_bilinear(out, ticks);
    case 19:
        return run_minmax(out, ticks);
    case 20:
        return run_prelu(out, ticks);
    case 21:
        return run_reduce_minmax(out, ticks);
    case 22:
        return run_arg_minmax(out, ticks);
    default:
        fprintf(stderr, "no operator %d\n", (int)operator_number);
        exit(1);
    }
}

static void run_case(FILE *cases, FILE *results, int32_t operator_number)
{
    const size_t bytes = (size_t)read_word(cases);
    const int32_t in_place = read_word(cases);
    read_arguments(cases);
    int8_t *const out = in_place ? arrays[0] : memory(bytes);
    uint32_t ticks = 0;
    const edk_status status = run(operator_number, out, &ticks);
    write_result(results, status, ticks, out, bytes);
    if (!in_place) {
        free(out);
    }
    free_arrays();
}

int main(void)
{
    return run_all_cases(run_case);
}
