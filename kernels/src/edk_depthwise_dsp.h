/* Depthwise convolution for the DSP extension: planes of int16 pairs for four channels.
 *
 * A plane holds [column][pairs] words of a channel; word j of a column pairs tap rows 2j and 2j + 1. A window is
 * kernel_width * pairs words in a row, and the next output's begins stride_width * pairs further. Weights are brought
 * into the same order; a row that a last pair lacks has weight 0.
 * Dilation along the width, depth multipliers and filters of more than eight rows are left to plain C, and so are
 * channels beyond the last multiple of four.
 */
#ifndef EDK_DEPTHWISE_DSP_H
#define EDK_DEPTHWISE_DSP_H

#include "edk_depthwise_plane.h"
#include "edk_requant_dsp.h"

#define EDK_PLANES 4
#define EDK_MAX_PAIRS 4

typedef struct {
    const edk_depthwise_conv_params *params;
    uint32_t *weights; /* [EDK_PLANES][kernel_width][pairs] */
    uint32_t *planes;  /* [EDK_PLANES][columns][pairs] */
    int32_t plane;     /* words of a plane */
    int32_t pairs;
} edk_planes;

static inline int edk_depthwise_fits_planes(const edk_depthwise_conv_params *p)
{
    return p->out.channels == p->in.channels && p->window.dilation_width == 1 &&
           p->window.kernel_height <= 2 * EDK_MAX_PAIRS;
}

/* Low halves of a and b as one word, and the high halves. */
static inline uint32_t edk_pack_low(uint32_t a, uint32_t b)
{
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
}

static inline uint32_t edk_pack_high(uint32_t a, uint32_t b)
{
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
    return pair;
}

/* Four channels of two rows into four planes. */
static inline void edk_pack_pair(uint32_t a, uint32_t b, uint32_t *to, int32_t plane)
{
    const uint32_t a02 = edk_sxtb16(a), a13 = edk_sxtb16_odd(a), b02 = edk_sxtb16(b), b13 = edk_sxtb16_odd(b);
    to[0] = edk_pack_low(a02, b02);
    to[plane] = edk_pack_low(a13, b13);
    to[2 * plane] = edk_pack_high(a02, b02);
    to[3 * plane] = edk_pack_high(a13, b13);
}

static inline void edk_planes_weights(const edk_planes *b, int channel0)
{
    const edk_depthwise_conv_params *p = b->params;
    const int height = p->window.kernel_height, width = p->window.kernel_width;
    for (int kx = 0; kx < width; kx++) {
        for (int j = 0; j < b->pairs; j++) {
            const int8_t *from = p->weights + (ptrdiff_t)(2 * j * width + kx) * p->out.channels + channel0;
            const uint32_t below = 2 * j + 1 < height ? edk_load4(from + (ptrdiff_t)width * p->out.channels) : 0;
            edk_pack_pair(edk_load4(from), below, b->weights + kx * b->pairs + j, width * b->pairs);
        }
    }
}

/* Rows 2j and 2j + 1 of the window into the planes; a null row is padding. */
static inline void edk_planes_rows(const edk_planes *b, const int8_t *upper, const int8_t *lower, int j, int channel0)
{
    const edk_depthwise_conv_params *p = b->params;
    const int32_t columns = edk_plane_columns(p), step = b->pairs, plane = b->plane, stride = p->in.pixel_stride;
    const uint32_t fill = ((uint32_t)p->input_zero_point & 0xFFu) * 0x01010101u;
    const edk_plane_span span = edk_plane_inside(p);
    uint32_t *to = b->planes + j;
    int32_t column = 0;
    for (; column < span.first; column++, to += step) {
        edk_pack_pair(fill, fill, to, plane);
    }
    if (column < span.last) {
        /* A padding row reads the same word again and again. */
        const ptrdiff_t start = channel0 + (ptrdiff_t)(column - p->window.pad_left) * stride;
        const int8_t *a = upper == NULL ? (const int8_t *)&fill : upper + start;
        const int8_t *c = lower == NULL ? (const int8_t *)&fill : lower + start;
        const int32_t step_a = upper == NULL ? 0 : stride, step_c = lower == NULL ? 0 : stride;
        for (; column < span.last; column++, to += step, a += step_a, c += step_c) {
            edk_pack_pair(edk_load4(a), edk_load4(c), to, plane);
        }
    }
    for (; column < columns; column++, to += step) {
        edk_pack_pair(fill, fill, to, plane);
    }
}

/* clang-format off: assembly, a line an instruction */
/* Four outputs with neighbouring windows of one channel. A column's words are in named registers, since LDM needs
 * them in order; r7 is left out, since it may be the frame pointer. Each column is read at four offsets. */
#define EDK_PLANE_DOT4(name, weights_column, column, back)                                                         \
    static inline void name(const uint32_t *window, const uint32_t *weights, const uint32_t *end, int32_t sums[4]) \
    {                                                                                                              \
        int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];                                            \
        __asm__ volatile(                                                                                          \
            "1:\n" weights_column column("%[s0]") column("%[s1]") column("%[s2]")                                  \
                column("%[s3]") "sub %[x], %[x], #" back "\n"                                                      \
                                "cmp %[w], %[end]\n"                                                               \
                                "bne 1b\n"                                                                         \
            : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [w] "+r"(weights), [x] "+r"(window)      \
            : [end] "r"(end)                                                                                       \
            : "r4", "r5", "r6", "r8", "r9", "r10", "cc", "memory");                                                \
        sums[0] = s0;                                                                                              \
        sums[1] = s1;                                                                                              \
        sums[2] = s2;                                                                                              \
        sums[3] = s3;                                                                                              \
    }

#define EDK_COLUMN_2(sum)              \
    "ldmia %[x]!, {r8, r9}\n"          \
    "smlad " sum ", r8, r4, " sum "\n" \
    "smlad " sum ", r9, r5, " sum "\n"
#define EDK_COLUMN_3(sum)              \
    "ldmia %[x]!, {r8, r9, r10}\n"     \
    "smlad " sum ", r8, r4, " sum "\n" \
    "smlad " sum ", r9, r5, " sum "\n" \
    "smlad " sum ", r10, r6, " sum "\n"

/* Four columns forward for four outputs, three back: the next tap's column. */
EDK_PLANE_DOT4(edk_plane_dot4_of_2, "ldmia %[w]!, {r4, r5}\n", EDK_COLUMN_2, "24")
EDK_PLANE_DOT4(edk_plane_dot4_of_3, "ldmia %[w]!, {r4, r5, r6}\n", EDK_COLUMN_3, "36")

/* clang-format on */

/* One output. */
static inline int32_t edk_plane_dot(const uint32_t *window, const uint32_t *weights, const uint32_t *end, int32_t sum)
{
    while (weights < end) {
        sum = edk_smlad(*window++, *weights++, sum);
    }
    return sum;
}

/* One row of output of one channel. */
static inline void edk_plane_channel(const edk_planes *b, int c, int channel, int finish, int8_t *out)
{
    const edk_depthwise_conv_params *p = b->params;
    const edk_channel constants = edk_channel_of(&p->requant, channel);
    const int32_t words = p->window.kernel_width * b->pairs, apart = p->window.stride_width * b->pairs;
    const uint32_t *window = b->planes + (ptrdiff_t)c * b->plane;
    const uint32_t *weights = b->weights + (ptrdiff_t)c * words, *end = weights + words;
    const int fours = p->window.stride_width == 1 && (b->pairs == 2 || b->pairs == 3);
    const int32_t bias = p->bias[channel];
    for (int x = 0; x < p->out.width;) {
        int32_t sums[4] = {bias, bias, bias, bias};
        int count = 4;
        if (!fours || x + 4 > p->out.width) {
            sums[0] = edk_plane_dot(window, weights, end, bias);
            count = 1;
        } else if (b->pairs == 2) {
            edk_plane_dot4_of_2(window, weights, end, sums);
        } else {
            edk_plane_dot4_of_3(window, weights, end, sums);
        }
        x += count;
        window += count * apart;
        if (finish == EDK_FINISH_RELU) {
            for (int i = 0; i < count; i++, out += p->out.pixel_stride) {
                *out = edk_finish(&p->requant, &constants, EDK_FINISH_RELU, sums[i]);
            }
        } else {
            for (int i = 0; i < count; i++, out += p->out.pixel_stride) {
                *out = edk_finish(&p->requant, &constants, finish, sums[i]);
            }
        }
    }
}

static inline void edk_planes_fill(const edk_planes *b, const int8_t *input, int y, int channel0)
{
    const edk_depthwise_conv_params *p = b->params;
    for (int j = 0; j < b->pairs; j++) {
        const int8_t *upper = edk_plane_row(p, input, y, 2 * j);
        const int8_t *lower = 2 * j + 1 < p->window.kernel_height ? edk_plane_row(p, input, y, 2 * j + 1) : upper;
        edk_planes_rows(b, upper, lower, j, channel0);
    }
}

static inline void edk_depthwise_core(const edk_depthwise_conv_params *p, const int8_t *input, int8_t *output,
                                      void *scratch)
{
    if (!edk_depthwise_fits_planes(p)) {
        edk_depthwise_plain(p, input, output, 0); /* the scratch may be null */
        return;
    }
    int channel = 0;
    const int32_t pairs = (p->window.kernel_height + 1) / 2;
    const edk_planes b = {p, (uint32_t *)scratch, (uint32_t *)scratch + EDK_PLANES * p->window.kernel_width * pairs,
                          edk_plane_columns(p) * pairs, pairs};
    const int finish = edk_finish_of(&p->requant);
    for (; channel + EDK_PLANES <= p->out.channels; channel += EDK_PLANES) {
        edk_planes_weights(&b, channel);
        for (int y = 0; y < p->out.height; y++) {
            int8_t *row = output + (ptrdiff_t)y * p->out.row_stride;
            edk_planes_fill(&b, input, y, channel);
            for (int c = 0; c < EDK_PLANES; c++) {
                edk_plane_channel(&b, c, channel + c, finish, row + channel + c);
            }
        }
    }
    edk_depthwise_plain(p, input, output, channel);
}

#endif
