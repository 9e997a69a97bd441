/* Floats that every compiler rounds alike. */
#ifndef EDK_DETECT_FLOAT_H
#define EDK_DETECT_FLOAT_H

#define EDK_MAX_INPUT_SIDE 65535 /* px; exact in float, as are all priors */

/* A product that an addition follows goes through memory: a fused multiply-add would round once instead of twice. */
static inline float edk_rounded(float product)
{
    volatile float stored = product;
    return stored;
}

static inline float edk_clipped(float value, float limit)
{
    return value < 0.0f ? 0.0f : value > limit ? limit : value;
}

static inline int edk_is_scale(float scale)
{
    return scale > 0.0f && scale <= 3.402823466e+38f; /* false for NaN and infinity */
}

#endif
