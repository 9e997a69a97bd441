/* Core of edk_conv_s8 in plain C: four windows as int16, one filter at a time; compilers vectorize the loop over taps.
 * On a PC with AVX2 and in WebAssembly with SIMD that loop is written with intrinsics. */
#ifndef EDK_CONV_PLAIN_H
#define EDK_CONV_PLAIN_H

#include "edk_scale.h"
#include "edk_unfold.h"

#define EDK_CONV_PIXELS 4

typedef struct {
    const edk_conv_params *params;
    int16_t *patch; /* [EDK_CONV_PIXELS][taps] */
    int8_t *codes;  /* one window */
    int32_t taps;
} edk_conv_block;

static inline void edk_conv_block_init(edk_conv_block *block, const edk_conv_params *params, void *scratch)
{
    block->params = params;
    block->patch = (int16_t *)scratch;
    block->taps = params->window.kernel_height * params->window.kernel_width * params->in.channels;
    block->codes = (int8_t *)scratch + 8 * (ptrdiff_t)block->taps;
}

/* Room for codes and for the widened window does not overlap, which lets compilers vectorize. */
static inline void edk_widen_plain(const int8_t *restrict codes, int16_t *restrict patch, int32_t taps)
{
    for (int32_t k = 0; k < taps; k++) {
        patch[k] = codes[k];
    }
}

static inline void edk_conv_block_fill(edk_conv_block *block, int slot, const int8_t *input, int y, int x)
{
    edk_unfold(block->params, input, y, x, block->codes);
    edk_widen_plain(block->codes, block->patch + (ptrdiff_t)slot * block->taps, block->taps);
}

#if defined(EDK_USE_AVX2)
#include "edk_conv_avx2.h"
#elif defined(EDK_USE_WASM)
#include "edk_conv_wasm.h"
#else
/* sums[i] = bias + window i times one filter. */
static inline void edk_conv_dot4(const int16_t *patch, const int8_t *weights, int32_t taps, int32_t bias,
                                 int32_t sums[4])
{
    const int16_t *p1 = patch + taps, *p2 = p1 + taps, *p3 = p2 + taps;
    int32_t s0 = bias, s1 = bias, s2 = bias, s3 = bias;
    for (int32_t k = 0; k < taps; k++) {
        const int16_t w = weights[k];
        s0 += patch[k] * w;
        s1 += p1[k] * w;
        s2 += p2[k] * w;
        s3 += p3[k] * w;
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}
#endif

/* Windows that are not filled hold codes of earlier ones, or on the first call what was in the scratch: no codes, whose
 * sums would overflow. They are cleared; their sums are not stored. */
static inline void edk_conv_block_multiply(const edk_conv_block *block, int filled, int8_t *const out[])
{
    const edk_conv_params *params = block->params;
    const edk_requant *r = &params->requant;
    const int8_t *weights = params->weights;
    if (filled < EDK_CONV_PIXELS) {
        const size_t missing = (size_t)(EDK_CONV_PIXELS - filled) * (size_t)block->taps;
        memset(block->patch + (ptrdiff_t)filled * block->taps, 0, missing * sizeof *block->patch);
    }
    for (int o = 0; o < params->out.channels; o++, weights += block->taps) {
        int32_t sums[EDK_CONV_PIXELS];
        edk_conv_dot4(block->patch, weights, block->taps, params->bias[o], sums);
        for (int i = 0; i < filled; i++) {
            const int32_t scaled = edk_scale(sums[i], r->multiplier[o], r->shift[o]);
            out[i][o] = edk_clip_code(scaled, r->zero_point, r->act_min, r->act_max);
        }
    }
}

#endif
