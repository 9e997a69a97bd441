/* Which instructions the kernels use: EDK_USE_MVE (Armv8.1-M Helium, integer), EDK_USE_DSP (Armv7E-M or Armv8-M with the
 * DSP extension), EDK_USE_AVX2 (PCs), or none: plain C. Define EDK_PLAIN_C to get plain C everywhere. The assembly needs an optimizing
 * build, since it takes nearly all registers, and a little-endian processor. */
#ifndef EDK_TARGET_H
#define EDK_TARGET_H

#if !defined(EDK_PLAIN_C) && defined(__GNUC__) && defined(__OPTIMIZE__) && !defined(__ARM_BIG_ENDIAN)
#if defined(__ARM_FEATURE_MVE)
#define EDK_USE_MVE 1
#elif defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define EDK_USE_DSP 1
#elif defined(__AVX2__)
#define EDK_USE_AVX2 1
#elif defined(__wasm_simd128__)
#define EDK_USE_WASM 1
#endif
#endif

#endif
