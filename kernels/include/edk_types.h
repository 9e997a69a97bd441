/* Types that the operators share.
 *
 * Tensors are NHWC, one image a call (a batch is a loop over calls), and int8 where nothing else is said; kernels at the
 * ends of a network name an `edk_type`. A real number is (code - zero_point) * scale; the zero points below are zero
 * points, never negated "offsets".
 * Parameter structs are plain constants: generated code keeps them in flash.
 */
#ifndef EDK_TYPES_H
#define EDK_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Alignment of a variable, in front of its type. Define EDK_ALIGN for a compiler that is not among these. */
#ifndef EDK_ALIGN
#if defined(__GNUC__) || defined(__clang__) || defined(__ARMCC_VERSION) || defined(__ICCARM__)
#define EDK_ALIGN(bytes) __attribute__((aligned(bytes)))
#elif defined(_MSC_VER)
#define EDK_ALIGN(bytes) __declspec(align(bytes))
#else
#error "edgedet: how does this compiler align a variable? -D'EDK_ALIGN(bytes)=...'"
#endif
#endif

/* Types of tensors. */
typedef enum { EDK_INT8, EDK_UINT8, EDK_INT16, EDK_FLOAT32, EDK_INT32 } edk_type;

/* An image inside a buffer: element (y, x, c) is at y * row_stride + x * pixel_stride + c.
 *
 * A dense tensor has pixel_stride == channels and row_stride == width * channels. A larger pixel_stride reads from or
 * writes into a part of a concatenated tensor; a larger row_stride a window of a larger image. The pointer that goes
 * with a view points at its element (0, 0, 0).
 * Ranges: height, width, channels >= 1; pixel_stride >= channels; row_stride >= (width - 1) * pixel_stride + channels.
 */
typedef struct {
    int16_t height;
    int16_t width;
    int16_t channels;
    int16_t pixel_stride; /* elements between neighbours in a row */
    int32_t row_stride;   /* elements between rows */
} edk_view;

/* Steps of a broadcasting operand, in elements; 0 repeats the same element along that axis. */
typedef struct {
    int32_t row;
    int16_t pixel;
    int16_t channel; /* 0 or 1 */
} edk_steps;

/* Sliding window. The filter's tap (ky, kx) of output (y, x) reads input
 * (y * stride_height - pad_top + ky * dilation_height, x * stride_width - pad_left + kx * dilation_width);
 * taps outside the input read the padding. Padding below and to the right follows from the output's size.
 * A PAD operator in front is folded by adding its top and left widths to pad_top and pad_left.
 * Ranges: kernel, stride, dilation >= 1; pads >= 0.
 */
typedef struct {
    int16_t kernel_height, kernel_width;
    int16_t stride_height, stride_width;
    int16_t dilation_height, dilation_width;
    int16_t pad_top, pad_left;
} edk_window;

/* How int32 accumulators of channel c become int8:
 *
 *     clip(scaled(accumulator, multiplier[c], shift[c]) + zero_point, act_min, act_max)
 *
 * with TFLite's double rounding: scaled(a, m, s) shifts a left by s if s > 0 (wrapping at 32 bits), takes the saturating
 * rounding doubling high product (a * m + 2^30) >> 31 (ties up), and divides it by 2^-s if s < 0, ties away from zero.
 * multiplier: 0, or 2^30 .. 2^31 - 1. shift: -31 .. 31. zero_point: -128 .. 127. -128 <= act_min <= act_max <= 127.
 *
 * flags: EDK_REQUANT_NARROW promises, for every channel, that -22 <= shift[c] <= -1 and that every accumulator that can
 * occur is below 2^30 in absolute value. It allows fewer instructions and gives the same bits; 0 is always right.
 */
typedef struct {
    const int32_t *multiplier; /* one per output channel */
    const int8_t *shift;       /* one per output channel; positive: left */
    int16_t zero_point;
    int16_t act_min;
    int16_t act_max;
    int16_t flags;
} edk_requant;

#define EDK_REQUANT_NARROW 1

#ifdef __cplusplus
}
#endif

#endif
