/* Core of edk_conv_s8 for the DSP extension: four windows times one filter, two products an instruction.
 *
 * Windows are widened to int16 and interleaved so that the inner loop reads them with one pointer: for taps 4j .. 4j + 3
 * eight words, first the pairs (4j, 4j + 2) of windows 0 .. 3, then the pairs (4j + 1, 4j + 3). These are the pairs that
 * SXTB16 makes from four weights. Windows end with zeros up to a multiple of eight taps, so that the loop may run on into
 * the next filter's weights; the last filter has none behind it and is copied where that happens.
 */
#ifndef EDK_CONV_DSP_H
#define EDK_CONV_DSP_H

#include "edk_check.h"
#include "edk_requant_dsp.h"
#include "edk_unfold.h"

#define EDK_CONV_PIXELS 4
#define EDK_TEXT_OF(x) #x
#define EDK_TEXT(x) EDK_TEXT_OF(x)

typedef struct {
    const edk_conv_params *params;
    uint32_t *patch;
    int8_t *codes; /* one window as codes, for depths that are not multiples of four */
    int8_t *last;  /* the last filter, filled up with zeros; used if taps is not a multiple of eight */
    int finish;
    int32_t taps;
    int32_t padded; /* taps rounded up to a multiple of eight */
} edk_conv_block;

static inline void edk_conv_block_init(edk_conv_block *block, const edk_conv_params *params, void *scratch)
{
    block->params = params;
    block->patch = (uint32_t *)scratch;
    block->taps = params->window.kernel_height * params->window.kernel_width * params->in.channels;
    block->padded = (block->taps + 7) / 8 * 8;
    block->codes = (int8_t *)scratch + 8 * block->padded;
    block->last = block->codes + block->padded;
    block->finish = edk_finish_of(&params->requant);
    memset(block->patch + 2 * (block->padded - 8), 0, 64);
    memset(block->codes + block->padded - 8, 0, 8);
    if (block->padded > block->taps) {
        memset(block->last, 0, (size_t)block->padded);
        memcpy(block->last, params->weights + (ptrdiff_t)(params->out.channels - 1) * block->taps, (size_t)block->taps);
    }
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
        for (int kx = 0; kx < w->kernel_width; kx++) {
            const int ix = x0 + kx * w->dilation_width;
            if (iy < 0 || iy >= p->in.height || ix < 0 || ix >= p->in.width) {
                patch = edk_widen_fill(pair, words, patch);
            } else {
                patch = edk_widen(edk_pixel(p, input, iy, ix), words, patch);
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
        edk_widen(block->codes, block->padded / 4, patch);
        return;
    }
    const int y0 = y * w->stride_height - w->pad_top, x0 = x * w->stride_width - w->pad_left;
    const int joined = w->kernel_width == 1 || (w->dilation_width == 1 && p->in.pixel_stride == p->in.channels);
    if (!joined || !edk_window_inside(p, y0, x0)) {
        edk_widen_taps(p, input, y0, x0, patch);
        return;
    }
    const int8_t *row = edk_pixel(p, input, y0, x0);
    for (int ky = 0; ky < w->kernel_height; ky++, row += (ptrdiff_t)w->dilation_height * p->in.row_stride) {
        patch = edk_widen(row, w->kernel_width * p->in.channels / 4, patch);
    }
}

/* clang-format off: assembly, a line an instruction */
/* Eight taps of four windows; `load` brings eight weights to w0 and w1. Registers of LDM must be named; r7 is left out,
 * since it may be the frame pointer. */
#define EDK_EIGHT_TAPS(load)               \
    load "sxtb16 %[t], %[w0]\n"            \
         "ldmia %[p]!, {r4, r5, r6, r8}\n" \
         "smlad %[a0], r4, %[t], %[a0]\n"  \
         "smlad %[a1], r5, %[t], %[a1]\n"  \
         "smlad %[a2], r6, %[t], %[a2]\n"  \
         "smlad %[a3], r8, %[t], %[a3]\n"  \
         "sxtb16 %[w0], %[w0], ror #8\n"   \
         "ldmia %[p]!, {r4, r5, r6, r8}\n" \
         "smlad %[a0], r4, %[w0], %[a0]\n" \
         "smlad %[a1], r5, %[w0], %[a1]\n" \
         "smlad %[a2], r6, %[w0], %[a2]\n" \
         "smlad %[a3], r8, %[w0], %[a3]\n" \
         "sxtb16 %[t], %[w1]\n"            \
         "ldmia %[p]!, {r4, r5, r6, r8}\n" \
         "smlad %[a0], r4, %[t], %[a0]\n"  \
         "smlad %[a1], r5, %[t], %[a1]\n"  \
         "smlad %[a2], r6, %[t], %[a2]\n"  \
         "smlad %[a3], r8, %[t], %[a3]\n"  \
         "sxtb16 %[w1], %[w1], ror #8\n"   \
         "ldmia %[p]!, {r4, r5, r6, r8}\n" \
         "smlad %[a0], r4, %[w1], %[a0]\n" \
         "smlad %[a1], r5, %[w1], %[a1]\n" \
         "smlad %[a2], r6, %[w1], %[a2]\n" \
         "smlad %[a3], r8, %[w1], %[a3]\n"

/* What the assembly below keeps on the stack: it has no register to spare. */
typedef struct {
    const uint32_t *patch;         /* [sp, #0] */
    const int32_t *bias;           /* #4 */
    const int32_t *multiplier;     /* #8 */
    const int8_t *shift;           /* #12 */
    int8_t *out[EDK_CONV_PIXELS];  /* #16 to #28 */
    int32_t channel;               /* #32, the next one */
    int32_t channels;              /* #36, one behind the last */
    int32_t taps;                  /* #40, that the loop does: a multiple of eight */
    int32_t back;                  /* #44, weights that the loop runs into the next filter */
    int32_t rounding;              /* #48, 2 * zero point + 1: half and zero point, to be shifted by exponent - 1 */
    int32_t finish;                /* #52 */
    int32_t low;                   /* #56, codes */
    int32_t high;                  /* #60; #64 is the end of the filter's weights, #68 nothing */
    int32_t sums[EDK_CONV_PIXELS]; /* result; not on the stack */
} edk_conv_run;

typedef char edk_conv_run_layout[offsetof(edk_conv_run, sums) == 64 ? 1 : -1];

/* Accumulator to code: multiplier in r5, exponent in r6, half and zero point in r8. */
#define EDK_FINISH_SUM(sum)         \
    "lsl " sum ", " sum ", #1\n"    \
    "smmulr " sum ", " sum ", r5\n" \
    "add " sum ", " sum ", r8\n"    \
    "asr " sum ", " sum ", r6\n"    \
    "ssat " sum ", #8, " sum "\n"

/* The same with ties of negative numbers, and clipped to w0 .. w1. */
#define EDK_FINISH_SIGNED(sum)                 \
    "lsl " sum ", " sum ", #1\n"               \
    "smmulr " sum ", " sum ", r5\n"            \
    "add " sum ", " sum ", " sum ", asr #31\n" \
    "add " sum ", " sum ", r8\n"               \
    "asr " sum ", " sum ", r6\n"               \
    "cmp " sum ", %[w0]\n"                     \
    "it lt\n"                                  \
    "movlt " sum ", %[w0]\n"                   \
    "cmp " sum ", %[w1]\n"                     \
    "it gt\n"                                  \
    "movgt " sum ", %[w1]\n"

#define EDK_COPY_FOUR_WORDS "ldmia %[p]!, {r4, r5, r6, r8}\nstmia %[t]!, {r4, r5, r6, r8}\n"

/* Filters channel .. channels - 1 times four windows, requantized as in edk_requant_dsp.h and stored. With EDK_FINISH_ANY
 * one filter, whose sums it leaves in state->sums. `load` brings eight weights to w0 and w1. The loop does sixteen taps;
 * an odd eight enter it half-way.
 *
 * The state is copied below the stack pointer and read from there: clang gives every memory operand a register of its own,
 * and there are 13 in all, r7 left out. No operand may be in memory, since the stack pointer moves.
 */
#define EDK_CONV_RUN(name, load)                                                                                       \
    static inline void name(edk_conv_run *state, const int8_t *weights)                                                \
    {                                                                                                                  \
        const edk_conv_run *p = state;                                                                                 \
        const int8_t *w = weights;                                                                                     \
        uint32_t a0, a1, a2, a3, t, w0, w1;                                                                            \
        __asm__ volatile(                                                                                              \
            "sub sp, sp, #72\n"                                                                                        \
            "mov %[t], sp\n" EDK_COPY_FOUR_WORDS EDK_COPY_FOUR_WORDS EDK_COPY_FOUR_WORDS EDK_COPY_FOUR_WORDS           \
            "ldr %[t], [sp, #32]\n"                                                                                    \
            "3:\n"                                                                                                     \
            "ldr %[p], [sp, #4]\n"                                                                                     \
            "ldr %[a0], [%[p], %[t], lsl #2]\n"                                                                        \
            "ldr %[p], [sp, #0]\n"                                                                                     \
            "ldr %[t], [sp, #40]\n"                                                                                    \
            "mov %[a1], %[a0]\n"                                                                                       \
            "mov %[a2], %[a0]\n"                                                                                       \
            "mov %[a3], %[a0]\n"                                                                                       \
            "tst %[t], #8\n"                                                                                           \
            "add %[t], %[t], %[w]\n"                                                                                   \
            "str %[t], [sp, #64]\n"                                                                                    \
            "bne 2f\n"                                                                                                 \
            "1:\n" EDK_EIGHT_TAPS(load) "2:\n" EDK_EIGHT_TAPS(                                                         \
                load) "ldr %[t], [sp, #64]\n"                                                                          \
                      "cmp %[w], %[t]\n"                                                                               \
                      "bne 1b\n"                                                                                       \
                      "ldr r4, [sp, #52]\n"                                                                            \
                      "cmp r4, #" EDK_TEXT(                                                                            \
                          EDK_FINISH_NARROW) "\n"                                                                      \
                                             "blt 6f\n"                                                                \
                                             "ldr %[p], [sp, #44]\n"                                                   \
                                             "ldr %[t], [sp, #32]\n"                                                   \
                                             "sub %[w], %[w], %[p]\n"                                                  \
                                             "ldr %[p], [sp, #8]\n"                                                    \
                                             "ldr r5, [%[p], %[t], lsl #2]\n"                                          \
                                             "ldr %[p], [sp, #12]\n"                                                   \
                                             "ldrsb r6, [%[p], %[t]]\n"                                                \
                                             "ldr r8, [sp, #48]\n"                                                     \
                                             "neg r6, r6\n"                                                            \
                                             "sub %[p], r6, #1\n"                                                      \
                                             "lsl r8, r8, %[p]\n"                                                      \
                                             "cmp r4, #" EDK_TEXT(                                                     \
                                                 EDK_FINISH_NARROW) "\n"                                               \
                                                                    "beq 5f\n" EDK_FINISH_SUM("%[a0]") EDK_FINISH_SUM( \
                                                                        "%[a1]") EDK_FINISH_SUM("%[a2]")               \
                                                                        EDK_FINISH_SUM(                                \
                                                                            "%[a3]") "4:\n"                            \
                                                                                     "ldr %[w0], [sp, #16]\n"          \
                                                                                     "ldr %[w1], [sp, #20]\n"          \
                                                                                     "strb %[a0], [%[w0], %[t]]\n"     \
                                                                                     "strb %[a1], [%[w1], %[t]]\n"     \
                                                                                     "ldr %[w0], [sp, #24]\n"          \
                                                                                     "ldr %[w1], [sp, #28]\n"          \
                                                                                     "strb %[a2], [%[w0], %[t]]\n"     \
                                                                                     "strb %[a3], [%[w1], %[t]]\n"     \
                                                                                     "ldr %[p], [sp, #36]\n"           \
                                                                                     "add %[t], %[t], #1\n"            \
                                                                                     "str %[t], [sp, #32]\n"           \
                                                                                     "cmp %[t], %[p]\n"                \
                                                                                     "bne 3b\n"                        \
                                                                                     "b 6f\n"                          \
                                                                                     "5:\n"                            \
                                                                                     "ldr %[w0], [sp, #56]\n"          \
                                                                                     "ldr %[w1], [sp, "                \
                                                                                     "#60]\n" EDK_FINISH_SIGNED(       \
                                                                                         "%[a0]")                      \
                                                                                         EDK_FINISH_SIGNED("%[a1]")    \
                                                                                             EDK_FINISH_SIGNED(        \
                                                                                                 "%[a2]")              \
                                                                                                 EDK_FINISH_SIGNED(    \
                                                                                                     "%[a3]") "b 4b\n" \
                                                                                                              "6:\n"   \
                                                                                                              "add "   \
                                                                                                              "sp, "   \
                                                                                                              "sp, "   \
                                                                                                              "#72\n"  \
            : [w] "+r"(w), [p] "+r"(p), [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [a3] "=&r"(a3), [t] "=&r"(t),  \
              [w0] "=&r"(w0), [w1] "=&r"(w1)                                                                           \
            :                                                                                                          \
            : "r4", "r5", "r6", "r8", "cc", "memory");                                                                 \
        state->sums[0] = (int32_t)a0;                                                                                  \
        state->sums[1] = (int32_t)a1;                                                                                  \
        state->sums[2] = (int32_t)a2;                                                                                  \
        state->sums[3] = (int32_t)a3;                                                                                  \
    }

EDK_CONV_RUN(edk_conv_run_aligned,
             "ldrd %[w0], %[w1], [%[w]], #8\n") /* LDRD needs an address that is a multiple of 4 */
EDK_CONV_RUN(edk_conv_run_any, "ldr %[w0], [%[w]], #4\nldr %[w1], [%[w]], #4\n")

/* clang-format on */
static inline void edk_conv_run_filters(edk_conv_run *run, const int8_t *weights)
{
    if (((uintptr_t)weights | (uintptr_t)run->back) % 4 == 0) {
        edk_conv_run_aligned(run, weights);
    } else {
        edk_conv_run_any(run, weights);
    }
}

/* One filter at a time, requantized in C: the last windows, which are fewer than four, and EDK_FINISH_ANY. */
static inline void edk_conv_filter(const edk_conv_block *block, edk_conv_run *run, const int8_t *weights, int filled)
{
    const edk_requant *r = &block->params->requant;
    const int32_t o = run->channel;
    const edk_channel channel = edk_channel_of(r, o);
    edk_conv_run_filters(run, weights);
    for (int i = 0; i < filled; i++) {
        run->out[i][o] = edk_finish(r, &channel, block->finish, run->sums[i]);
    }
}

/* Windows that are not filled hold codes of earlier ones, or nothing yet on the first call; they are not stored. */
static inline void edk_conv_block_multiply(const edk_conv_block *block, int filled, int8_t *const out[])
{
    const edk_conv_params *params = block->params;
    const edk_requant *r = &params->requant;
    const int32_t back = block->padded - block->taps, channels = params->out.channels;
    edk_conv_run run = {block->patch,
                        params->bias,
                        r->multiplier,
                        r->shift,
                        {out[0], out[1], out[2], out[3]},
                        0,
                        channels - (back != 0),
                        block->padded,
                        back,
                        2 * r->zero_point + 1,
                        block->finish,
                        r->act_min,
                        r->act_max,
                        {0}};
    if (filled < EDK_CONV_PIXELS || block->finish == EDK_FINISH_ANY) {
        run.finish = EDK_FINISH_ANY;
        for (int32_t o = 0; o < channels; o++) {
            const int copied = back != 0 && o == channels - 1;
            run.channel = o;
            edk_conv_filter(block, &run, copied ? block->last : params->weights + (ptrdiff_t)o * block->taps, filled);
        }
        return;
    }
    if (run.channels > 0) {
        edk_conv_run_filters(&run, params->weights);
    }
    if (back != 0) {
        run.channel = run.channels;
        run.channels++;
        edk_conv_run_filters(&run, block->last);
    }
}

#endif
