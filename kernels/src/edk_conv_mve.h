/* Core of edk_conv_s8 for MVE: three windows times two filters, sixteen products an instruction.
 *
 * The loops are tail-predicated, so that nothing behind the last tap is read. A 1x1 window is not copied.
 */
#ifndef EDK_CONV_MVE_H
#define EDK_CONV_MVE_H

#include "edk_requant_mve.h"
#include "edk_unfold.h"

#define EDK_CONV_PIXELS 3
#define EDK_CONV_CHANNELS 4 /* requantized together */

typedef struct {
    const edk_conv_params *params;
    const int8_t *windows[EDK_CONV_PIXELS];
    int8_t *room;
    int32_t taps;
} edk_conv_block;

static inline void edk_conv_block_init(edk_conv_block *block, const edk_conv_params *params, void *scratch)
{
    block->params = params;
    block->room = (int8_t *)scratch;
    block->taps = params->window.kernel_height * params->window.kernel_width * params->in.channels;
    for (int i = 0; i < EDK_CONV_PIXELS; i++) {
        block->windows[i] = block->room;
    }
}

static inline int8_t *edk_copy_mve(int8_t *to, const int8_t *from, int32_t bytes)
{
    int8_t *at = to;
    __asm__ volatile("wlstp.8 lr, %[n], 2f\n"
                     "1:\n"
                     "vldrb.8 q0, [%[from]], #16\n"
                     "vstrb.8 q0, [%[at]], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [at] "+r"(at), [from] "+r"(from)
                     : [n] "r"(bytes)
                     : "q0", "lr", "cc", "memory");
    return to + bytes;
}

/* Unfold a window that lies inside the input with its columns beside each other. */
static inline void edk_unfold_rows(const edk_conv_params *p, const int8_t *row, int8_t *patch)
{
    const ptrdiff_t step = (ptrdiff_t)p->window.dilation_height * p->in.row_stride;
    const int32_t bytes = p->window.kernel_width * p->in.channels;
    for (int ky = 0; ky < p->window.kernel_height; ky++, row += step) {
        patch = edk_copy_mve(patch, row, bytes);
    }
}

static inline void edk_conv_block_fill(edk_conv_block *block, int slot, const int8_t *input, int y, int x)
{
    const edk_conv_params *p = block->params;
    const edk_window *w = &p->window;
    const int y0 = y * w->stride_height - w->pad_top, x0 = x * w->stride_width - w->pad_left;
    const int inside = edk_window_inside(p, y0, x0);
    if (inside && w->kernel_height == 1 && w->kernel_width == 1) {
        block->windows[slot] = edk_pixel(p, input, y0, x0);
        return;
    }
    int8_t *patch = block->room + (ptrdiff_t)slot * block->taps;
    block->windows[slot] = patch;
    if (inside && w->dilation_width == 1 && p->in.pixel_stride == p->in.channels) {
        edk_unfold_rows(p, edk_pixel(p, input, y0, x0), patch);
    } else {
        edk_unfold(p, input, y, x, patch);
    }
}

/* Sums of three windows with two filters: sums[4 * window] and sums[4 * window + 1]. */
static inline void edk_dot_2x3(const int8_t *w0, const int8_t *w1, const int8_t *const windows[], int32_t taps,
                               int32_t *sums)
{
    const int8_t *p0 = windows[0], *p1 = windows[1], *p2 = windows[2];
    int32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0, c0 = 0, c1 = 0;
    register int32_t n __asm__("lr") = taps; /* named: all other registers are taken */
    __asm__ volatile("wlstp.8 lr, %[n], 2f\n"
                     "1:\n"
                     "vldrb.8 q0, [%[w0]], #16\n"
                     "vldrb.8 q2, [%[p0]], #16\n"
                     "vmladava.s8 %[a0], q0, q2\n"
                     "vldrb.8 q1, [%[w1]], #16\n"
                     "vmladava.s8 %[a1], q1, q2\n"
                     "vldrb.8 q3, [%[p1]], #16\n"
                     "vmladava.s8 %[b0], q0, q3\n"
                     "vldrb.8 q4, [%[p2]], #16\n"
                     "vmladava.s8 %[b1], q1, q3\n"
                     "vmladava.s8 %[c0], q0, q4\n"
                     "vmladava.s8 %[c1], q1, q4\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : [a0] "+Te"(a0), [a1] "+Te"(a1), [b0] "+Te"(b0), [b1] "+Te"(b1), [c0] "+Te"(c0), [c1] "+Te"(c1),
                       [w0] "+r"(w0), [w1] "+r"(w1), [p0] "+r"(p0), [p1] "+r"(p1), [p2] "+r"(p2), [n] "+r"(n)
                     :
                     : "q0", "q1", "q2", "q3", "q4", "cc", "memory");
    sums[0] = a0;
    sums[1] = a1;
    sums[4] = b0;
    sums[5] = b1;
    sums[8] = c0;
    sums[9] = c1;
}

/* Requantize sums of four channels from `channel` on, of which `count` exist, and store them for the filled windows. */
static inline __attribute__((always_inline)) void edk_conv_store(const edk_conv_params *params, const edk_codes *codes,
                                                                 int finish, const int32_t *sums, int channel,
                                                                 int count, int filled, int8_t *const out[])
{
    const edk_requant *r = &params->requant;
    const mve_pred16_t mask = vctp32q((uint32_t)count);
    const int32x4_t multiplier = vldrwq_z_s32(r->multiplier + channel, mask);
    const int32x4_t shift = vldrbq_z_s32(r->shift + channel, mask);
    const int32x4_t bias = vldrwq_z_s32(params->bias + channel, mask), zero = vdupq_n_s32(0);
    const int32x4_t right = finish == EDK_FINISH_ANY ? vminq_s32(shift, zero) : shift;
    const int32x4_t left = finish == EDK_FINISH_ANY ? vmaxq_s32(shift, zero) : zero;
    for (int i = 0; i < filled; i++) {
        const int32x4_t sum = vaddq_s32(vldrwq_s32(sums + 4 * i), bias);
        vstrbq_p_s32(out[i] + channel, edk_finish4(codes, finish, sum, multiplier, right, left), mask);
    }
}

/* The same for four channels that exist and for all windows, without masks. */
static inline __attribute__((always_inline)) void edk_conv_store_all(const edk_conv_params *params,
                                                                     const edk_codes *codes, int finish,
                                                                     const int32_t *sums, int channel,
                                                                     int8_t *const out[])
{
    const int32x4_t multiplier = vldrwq_s32(params->requant.multiplier + channel);
    const int32x4_t shift = vldrbq_s32(params->requant.shift + channel);
    const int32x4_t bias = vldrwq_s32(params->bias + channel);
    const int32x4_t a = vaddq_s32(vldrwq_s32(sums), bias);
    vstrbq_s32(out[0] + channel, edk_finish4(codes, finish, a, multiplier, shift, shift));
    const int32x4_t b = vaddq_s32(vldrwq_s32(sums + 4), bias);
    vstrbq_s32(out[1] + channel, edk_finish4(codes, finish, b, multiplier, shift, shift));
    const int32x4_t c = vaddq_s32(vldrwq_s32(sums + 8), bias);
    vstrbq_s32(out[2] + channel, edk_finish4(codes, finish, c, multiplier, shift, shift));
}

static inline __attribute__((always_inline)) void edk_conv_block_finish(const edk_conv_block *block, int finish,
                                                                        int filled, int8_t *const out[])
{
    const edk_conv_params *params = block->params;
    const edk_codes codes = edk_codes_of(&params->requant);
    const int channels = params->out.channels;
    const int32_t taps = block->taps;
    const int8_t *weights = params->weights;
    int32_t sums[4 * EDK_CONV_PIXELS] = {0};
    int channel = 0;
    for (; channel + 4 <= channels; channel += 4, weights += 4 * taps) {
        edk_dot_2x3(weights, weights + taps, block->windows, taps, sums);
        edk_dot_2x3(weights + 2 * taps, weights + 3 * taps, block->windows, taps, sums + 2);
        if (finish == EDK_FINISH_RELU && filled == EDK_CONV_PIXELS) {
            edk_conv_store_all(params, &codes, finish, sums, channel, out);
        } else {
            edk_conv_store(params, &codes, finish, sums, channel, 4, filled, out);
        }
    }
    const int rest = channels - channel;
    if (rest > 0) {
        /* A filter that does not exist is replaced by one that does; its sums are not stored. */
        edk_dot_2x3(weights, rest > 1 ? weights + taps : weights, block->windows, taps, sums);
        if (rest > 2) {
            edk_dot_2x3(weights + 2 * taps, weights + 2 * taps, block->windows, taps, sums + 2);
        }
        edk_conv_store(params, &codes, finish, sums, channel, rest, filled, out);
    }
}

/* Windows that are not filled hold codes of earlier ones, or nothing yet on the first call; they are not stored. */
static inline void edk_conv_block_multiply(const edk_conv_block *block, int filled, int8_t *const out[])
{
    if (edk_finish_of(&block->params->requant) == EDK_FINISH_RELU) {
        edk_conv_block_finish(block, EDK_FINISH_RELU, filled, out);
    } else {
        edk_conv_block_finish(block, EDK_FINISH_ANY, filled, out);
    }
}

#endif
