/* The dot products of edk_conv_plain.h with WebAssembly's SIMD128, for networks in a browser. */
#ifndef EDK_CONV_WASM_H
#define EDK_CONV_WASM_H

#include <stdint.h>
#include <wasm_simd128.h>

static inline v128_t edk_madd(v128_t sum, const int16_t *patch, v128_t weights)
{
    return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(wasm_v128_load(patch), weights));
}

static inline int32_t edk_sum4(v128_t sum)
{
    const v128_t halves = wasm_i32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 2, 3, 0, 1));
    return wasm_i32x4_extract_lane(halves, 0) + wasm_i32x4_extract_lane(halves, 1);
}

/* sums[i] = bias + window i times one filter. Nothing behind the last tap is read. */
static inline void edk_conv_dot4(const int16_t *patch, const int8_t *weights, int32_t taps, int32_t bias,
                                 int32_t sums[4])
{
    const int16_t *p1 = patch + taps, *p2 = p1 + taps, *p3 = p2 + taps;
    v128_t s0 = wasm_i32x4_splat(0), s1 = s0, s2 = s0, s3 = s0;
    int32_t k = 0;
    for (; k + 8 <= taps; k += 8) {
        const v128_t w = wasm_i16x8_load8x8(weights + k);
        s0 = edk_madd(s0, patch + k, w);
        s1 = edk_madd(s1, p1 + k, w);
        s2 = edk_madd(s2, p2 + k, w);
        s3 = edk_madd(s3, p3 + k, w);
    }
    sums[0] = bias + edk_sum4(s0);
    sums[1] = bias + edk_sum4(s1);
    sums[2] = bias + edk_sum4(s2);
    sums[3] = bias + edk_sum4(s3);
    for (; k < taps; k++) {
        sums[0] += patch[k] * weights[k];
        sums[1] += p1[k] * weights[k];
        sums[2] += p2[k] * weights[k];
        sums[3] += p3[k] * weights[k];
    }
}

#endif
