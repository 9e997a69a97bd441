/* Core of edk_conv_s8 for the DSP extension: four windows times one filter, two products an instruction.
 *
 * Windows are widened to int16 and interleaved so that the inner loop reads them with one pointer: for taps 4j .. 4j + 3
 * eight words, first the pairs (4j, 4j + 2) of windows 0 .. 3, then the pairs (4j + 1, 4j + 3). These are the pairs that
 * SXTB16 makes from four weights.
 */
#ifndef EDK_CONV_DSP_H
#define EDK_CONV_DSP_H

#include "edk_check.h"
#include "edk_requant_dsp.h"
#include "edk_unfold.h"

#define EDK_CONV_PIXELS 4

typedef struct {
    const edk_conv_params *params;
    uint32_t *patch;
    int8_t *codes; /* one window as codes, for depths that are not multiples of four */
    int32_t taps;
} edk_conv_block;

static inline void edk_conv_block_init(edk_conv_block *block, const edk_conv_params *params, void *scratch)
{
    block->params = params;
    block->patch = (uint32_t *)scratch;
    block->taps = params->window.kernel_height * params->window.kernel_width * params->in.channels;
    block->codes = (int8_t *)scratch + 8 * ((block->taps + 3) / 4 * 4);
}

/* Widen `words` times four codes into one window; returns where the next go. */
static inline uint32_t *edk_widen(const int8_t *codes, int32_t words, uint32_t *patch)
{
    for (; words >= 4; words -= 4, codes += 16, patch += 32) {
        const uint32_t a = edk_load4(codes), b = edk_load4(codes + 4);
        patch[0] = edk_sxtb16(a);
        patch[4] = edk_sxtb16_odd(a);
        patch[8] = edk_sxtb16(b);
        patch[12] = edk_sxtb16_odd(b);
        const uint32_t c = edk_load4(codes + 8), d = edk_load4(codes + 12);
        patch[16] = edk_sxtb16(c);
        patch[20] = edk_sxtb16_odd(c);
        patch[24] = edk_sxtb16(d);
        patch[28] = edk_sxtb16_odd(d);
    }
    for (; words > 0; words--, codes += 4, patch += 8) {
        const uint32_t a = edk_load4(codes);
        patch[0] = edk_sxtb16(a);
        patch[4] = edk_sxtb16_odd(a);
    }
    return patch;
}

/* The same for taps that read the padding. */
static inline uint32_t *edk_widen_fill(uint32_t pair, int32_t words, uint32_t *patch)
{
    for (; words > 0; words--, patch += 8) {
        patch[0] = pair;
        patch[4] = pair;
    }
    return patch;
}

/* Unfold a window of which some taps are outside the input, or not beside each other; depth a multiple of four. */
static inline void edk_widen_taps(const edk_conv_params *p, const int8_t *input, int y0, int x0, uint32_t *patch)
{
    const edk_window *w = &p->window;
    const int32_t words = p->in.channels / 4;
    const uint32_t pair = ((uint32_t)p->input_zero_point & 0xFFFFu) * 0x10001u;
    for (int ky = 0; ky < w->kernel_height; ky++) {
        const int iy = y0 + ky * w->dilation_height;
        const int8_t *row = input + (ptrdiff_t)iy * p->in.row_stride;
        for (int kx = 0; kx < w->kernel_width; kx++) {
            const int ix = x0 + kx * w->dilation_width;
            if (iy < 0 || iy >= p->in.height || ix < 0 || ix >= p->in.width) {
                patch = edk_widen_fill(pair, words, patch);
            } else {
                patch = edk_widen(row + (ptrdiff_t)ix * p->in.pixel_stride, words, patch);
            }
        }
    }
}

static inline void edk_conv_block_fill(edk_conv_block *block, int slot, const int8_t *input, int y, int x)
{
    const edk_conv_params *p = block->params;
    const edk_window *w = &p->window;
    uint32_t *patch = block->patch + slot;
    if (p->in.channels % 4 != 0) {
        edk_unfold(p, input, y, x, block->codes);
        memset(block->codes + block->taps, 0, (size_t)(-block->taps & 3));
        edk_widen(block->codes, (block->taps + 3) / 4, patch);
        return;
    }
    const int y0 = y * w->stride_height - w->pad_top, x0 = x * w->stride_width - w->pad_left;
    const int joined = w->kernel_width == 1 || (w->dilation_width == 1 && p->in.pixel_stride == p->in.channels);
    if (!joined || !edk_window_inside(p, y0, x0)) {
        edk_widen_taps(p, input, y0, x0, patch);
        return;
    }
    const int8_t *row = input + (ptrdiff_t)y0 * p->in.row_stride + (ptrdiff_t)x0 * p->in.pixel_stride;
    for (int ky = 0; ky < w->kernel_height; ky++, row += (ptrdiff_t)w->dilation_height * p->in.row_stride) {
        patch = edk_widen(row, w->kernel_width * p->in.channels / 4, patch);
    }
}

/* Eight taps of four windows; `load` brings eight weights to w0 and w1. Registers of LDM must be named; r7 is left out,
 * since it may be the frame pointer. */
#define EDK_EIGHT_TAPS(load)              \
    load                                  \
    "sxtb16 %[t], %[w0]\n"                \
    "ldmia %[p]!, {r4, r5, r6, r8}\n"     \
    "smlad %[a0], r4, %[t], %[a0]\n"      \
    "smlad %[a1], r5, %[t], %[a1]\n"      \
    "smlad %[a2], r6, %[t], %[a2]\n"      \
    "smlad %[a3], r8, %[t], %[a3]\n"      \
    "sxtb16 %[w0], %[w0], ror #8\n"       \
    "ldmia %[p]!, {r4, r5, r6, r8}\n"     \
    "smlad %[a0], r4, %[w0], %[a0]\n"     \
    "smlad %[a1], r5, %[w0], %[a1]\n"     \
    "smlad %[a2], r6, %[w0], %[a2]\n"     \
    "smlad %[a3], r8, %[w0], %[a3]\n"     \
    "sxtb16 %[t], %[w1]\n"                \
    "ldmia %[p]!, {r4, r5, r6, r8}\n"     \
    "smlad %[a0], r4, %[t], %[a0]\n"      \
    "smlad %[a1], r5, %[t], %[a1]\n"      \
    "smlad %[a2], r6, %[t], %[a2]\n"      \
    "smlad %[a3], r8, %[t], %[a3]\n"      \
    "sxtb16 %[w1], %[w1], ror #8\n"       \
    "ldmia %[p]!, {r4, r5, r6, r8}\n"     \
    "smlad %[a0], r4, %[w1], %[a0]\n"     \
    "smlad %[a1], r5, %[w1], %[a1]\n"     \
    "smlad %[a2], r6, %[w1], %[a2]\n"     \
    "smlad %[a3], r8, %[w1], %[a3]\n"

/* Add taps from *weights up to end, a multiple of eight and not 0; the loop does sixteen, an odd eight enter it half-way. */
#define EDK_DOT4(name, load)                                                                                       \
    static inline void name(const int8_t **weights, const int8_t *end, const uint32_t **patch, int32_t sums[4])    \
    {                                                                                                              \
        const int8_t *w = *weights;                                                                                \
        const uint32_t *p = *patch;                                                                                \
        int32_t a0 = sums[0], a1 = sums[1], a2 = sums[2], a3 = sums[3];                                            \
        uint32_t t, w0, w1;                                                                                        \
        __asm__ volatile("sub %[t], %[end], %[w]\n"                                                                \
                         "tst %[t], #8\n"                                                                          \
                         "bne 2f\n"                                                                                \
                         "1:\n" EDK_EIGHT_TAPS(load) "2:\n" EDK_EIGHT_TAPS(load) "cmp %[w], %[end]\n"              \
                         "bne 1b\n"                                                                                \
                         : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [w] "+r"(w), [p] "+r"(p),   \
                           [t] "=&r"(t), [w0] "=&r"(w0), [w1] "=&r"(w1)                                            \
                         : [end] "r"(end)                                                                          \
                         : "r4", "r5", "r6", "r8", "cc", "memory");                                                \
        *weights = w;                                                                                              \
        *patch = p;                                                                                                \
        sums[0] = a0;                                                                                              \
        sums[1] = a1;                                                                                              \
        sums[2] = a2;                                                                                              \
        sums[3] = a3;                                                                                              \
    }

EDK_DOT4(edk_dot4_aligned, "ldrd %[w0], %[w1], [%[w]], #8\n") /* LDRD faults on an address that is no multiple of 4 */
EDK_DOT4(edk_dot4_any, "ldr %[w0], [%[w]], #4\nldr %[w1], [%[w]], #4\n")

/* The last one to seven taps. Weights behind the last one count as 0, so that whatever the windows hold there is lost. */
static inline void edk_dot4_rest(const int8_t *weights, int32_t count, const uint32_t *patch, int32_t sums[4])
{
    uint32_t words[2] = {0, 0};
    memcpy(words, weights, (size_t)count);
    for (int32_t i = 0; 4 * i < count; i++, patch += 8) {
        const uint32_t even = edk_sxtb16(words[i]), odd = edk_sxtb16_odd(words[i]);
        for (int j = 0; j < 4; j++) {
            sums[j] = edk_smlad(patch[j], even, sums[j]);
            sums[j] = edk_smlad(patch[4 + j], odd, sums[j]);
        }
    }
}

static inline void edk_conv_block_finish(const edk_conv_block *block, int finish, int filled, int8_t *const out[])
{
    const edk_conv_params *params = block->params;
    const int32_t rest = block->taps % 8;
    const int aligned = block->taps % 4 == 0 && edk_is_aligned(params->weights, 4);
    const int8_t *weights = params->weights;
    for (int o = 0; o < params->out.channels; o++, weights += rest) {
        const uint32_t *patch = block->patch;
        const int32_t bias = params->bias == NULL ? 0 : params->bias[o];
        int32_t sums[4] = {bias, bias, bias, bias};
        if (block->taps >= 8) {
            const int8_t *end = weights + (block->taps - rest);
            if (aligned) {
                edk_dot4_aligned(&weights, end, &patch, sums);
            } else {
                edk_dot4_any(&weights, end, &patch, sums);
            }
        }
        if (rest != 0) {
            edk_dot4_rest(weights, rest, patch, sums);
        }
        const edk_channel channel = edk_channel_of(&params->requant, o);
        if (filled == EDK_CONV_PIXELS) {
            out[0][o] = edk_finish(&params->requant, &channel, finish, sums[0]);
            out[1][o] = edk_finish(&params->requant, &channel, finish, sums[1]);
            out[2][o] = edk_finish(&params->requant, &channel, finish, sums[2]);
            out[3][o] = edk_finish(&params->requant, &channel, finish, sums[3]);
            continue;
        }
        for (int i = 0; i < filled; i++) {
            out[i][o] = edk_finish(&params->requant, &channel, finish, sums[i]);
        }
    }
}

/* Windows that are not filled hold codes of earlier ones, or nothing yet on the first call; they are not stored. */
static inline void edk_conv_block_multiply(const edk_conv_block *block, int filled, int8_t *const out[])
{
    switch (edk_finish_of(&block->params->requant)) {
    case EDK_FINISH_RELU:
        edk_conv_block_finish(block, EDK_FINISH_RELU, filled, out);
        break;
    case EDK_FINISH_NARROW:
        edk_conv_block_finish(block, EDK_FINISH_NARROW, filled, out);
        break;
    default:
        edk_conv_block_finish(block, EDK_FINISH_ANY, filled, out);
        break;
    }
}

#endif
