/* One or two rows of edk_fully_connected_s8 for the DSP extension, AVX2 and plain C: one row times two filters. */
#ifndef EDK_FULLY_CONNECTED_DOT_H
#define EDK_FULLY_CONNECTED_DOT_H

#include "edk_conv_s8.h"

/* edk_dot_pair: sums of a row with filters `first` and `second`, added to sums[0] and sums[1]. Nothing behind the last
 * code is read. */
#if defined(EDK_USE_DSP)
#include "edk_requant_dsp.h"

static inline int32_t edk_dot_four(uint32_t even, uint32_t odd, const int8_t *weights, int32_t sum)
{
    const uint32_t w = edk_load4(weights);
    return edk_smlad(odd, edk_sxtb16_odd(w), edk_smlad(even, edk_sxtb16(w), sum));
}

static inline void edk_dot_pair(const int8_t *codes, const int8_t *first, const int8_t *second, int32_t depth,
                                int32_t sums[2])
{
    int32_t a = sums[0], b = sums[1], k = 0;
    for (; k + 4 <= depth; k += 4) {
        const uint32_t four = edk_load4(codes + k), even = edk_sxtb16(four), odd = edk_sxtb16_odd(four);
        a = edk_dot_four(even, odd, first + k, a);
        b = edk_dot_four(even, odd, second + k, b);
    }
    for (; k < depth; k++) {
        a += codes[k] * first[k];
        b += codes[k] * second[k];
    }
    sums[0] = a;
    sums[1] = b;
}
#else
#include "edk_scale.h"

#if defined(EDK_USE_AVX2)
#include <immintrin.h>

static inline __m256i edk_widen16(const int8_t *codes)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)codes));
}

static inline int32_t edk_sum_of8(__m256i words)
{
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    const __m128i two = _mm_hadd_epi32(four, four);
    return _mm_cvtsi128_si32(_mm_hadd_epi32(two, two));
}
#endif

static inline void edk_dot_pair(const int8_t *codes, const int8_t *first, const int8_t *second, int32_t depth,
                                int32_t sums[2])
{
    int32_t a = sums[0], b = sums[1], k = 0;
#if defined(EDK_USE_AVX2)
    __m256i a8 = _mm256_setzero_si256(), b8 = a8;
    for (; k + 16 <= depth; k += 16) {
        const __m256i row = edk_widen16(codes + k);
        a8 = _mm256_add_epi32(a8, _mm256_madd_epi16(row, edk_widen16(first + k)));
        b8 = _mm256_add_epi32(b8, _mm256_madd_epi16(row, edk_widen16(second + k)));
    }
    a += edk_sum_of8(a8);
    b += edk_sum_of8(b8);
#endif
    for (; k < depth; k++) {
        a += codes[k] * first[k];
        b += codes[k] * second[k];
    }
    sums[0] = a;
    sums[1] = b;
}
#endif

static inline int8_t edk_dense_code(const edk_requant *r, int32_t channel, int32_t sum)
{
#if defined(EDK_USE_DSP)
    const edk_channel constants = edk_channel_of(r, channel);
    return edk_finish(r, &constants, edk_finish_of(r), sum);
#else
    const int32_t scaled = edk_scale(sum, r->multiplier[channel], r->shift[channel]);
    return edk_clip_code(scaled, r->zero_point, r->act_min, r->act_max);
#endif
}

/* conv: the same as a 1x1 convolution over an image of one row. */
static inline void edk_fully_connected_rows(const edk_conv_params *conv, const int8_t *input, int8_t *output)
{
    const int32_t depth = conv->in.channels, channels = conv->out.channels;
    for (int row = 0; row < conv->out.width; row++, input += depth, output += channels) {
        const int8_t *weights = conv->weights;
        for (int32_t o = 0; o < channels; o += 2, weights += 2 * (ptrdiff_t)depth) {
            /* An odd last filter is its own partner. */
            const int32_t partner = o + 1 < channels ? o + 1 : o;
            int32_t sums[2] = {conv->bias[o], conv->bias[partner]};
            edk_dot_pair(input, weights, weights + (ptrdiff_t)(partner - o) * depth, depth, sums);
            for (int32_t i = o; i <= partner; i++) {
                output[i] = edk_dense_code(&conv->requant, i, sums[i - o]);
            }
        }
    }
}

#endif
