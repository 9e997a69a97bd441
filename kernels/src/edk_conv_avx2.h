/* The dot products of edk_conv_plain.h with AVX2, which PCs have: it makes runs over data sets quick. */
#ifndef EDK_CONV_AVX2_H
#define EDK_CONV_AVX2_H

#include <immintrin.h>
#include <stdint.h>

static inline __m256i edk_madd(__m256i sum, const int16_t *patch, __m256i weights)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_loadu_si256((const __m256i *)(const void *)patch), weights));
}

static inline __m256i edk_madd8(__m256i sum, const int16_t *patch, __m128i weights)
{
    const __m128i codes = _mm_loadu_si128((const __m128i *)(const void *)patch);
    return _mm256_add_epi32(sum, _mm256_zextsi128_si256(_mm_madd_epi16(codes, weights)));
}

/* sums[i] = bias + window i times one filter. Nothing behind the last tap is read. */
static inline void edk_conv_dot4(const int16_t *patch, const int8_t *weights, int32_t taps, int32_t bias,
                                 int32_t sums[4])
{
    const int16_t *p1 = patch + taps, *p2 = p1 + taps, *p3 = p2 + taps;
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
    int32_t k = 0;
    for (; k + 16 <= taps; k += 16) {
        const __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(weights + k)));
        s0 = edk_madd(s0, patch + k, w);
        s1 = edk_madd(s1, p1 + k, w);
        s2 = edk_madd(s2, p2 + k, w);
        s3 = edk_madd(s3, p3 + k, w);
    }
    if (k + 8 <= taps) {
        const __m128i w = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)(weights + k)));
        s0 = edk_madd8(s0, patch + k, w);
        s1 = edk_madd8(s1, p1 + k, w);
        s2 = edk_madd8(s2, p2 + k, w);
        s3 = edk_madd8(s3, p3 + k, w);
        k += 8;
    }
    const __m256i four = _mm256_hadd_epi32(_mm256_hadd_epi32(s0, s1), _mm256_hadd_epi32(s2, s3));
    const __m128i halves = _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    const __m128i all = _mm_add_epi32(halves, _mm_set1_epi32(bias));
    _mm_storeu_si128((__m128i *)(void *)sums, all);
    for (; k < taps; k++) {
        sums[0] += patch[k] * weights[k];
        sums[1] += p1[k] * weights[k];
        sums[2] += p2[k] * weights[k];
        sums[3] += p3[k] * weights[k];
    }
}

#endif
