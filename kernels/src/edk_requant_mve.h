/* Requantization of four channels at a time with MVE; the bits of edk_scale.h.
 *
 * VQRDMULH is the saturating rounding doubling high product. VRSHL by a negative number divides, rounding ties up; taking
 * 1 from negative numbers before turns that into ties away from zero. Where act_min >= zero_point, a negative number is
 * clipped whatever its rounding, and the step is left out.
 */
#ifndef EDK_REQUANT_MVE_H
#define EDK_REQUANT_MVE_H

#include <arm_mve.h>

#include "edk_scale.h"

enum { EDK_FINISH_ANY, EDK_FINISH_RELU }; /* from slow to quick */

/* Which of the above fits every channel of a layer. */
static inline int edk_finish_of(const edk_requant *r)
{
    return (r->flags & EDK_REQUANT_NARROW) != 0 && r->act_min >= r->zero_point ? EDK_FINISH_RELU : EDK_FINISH_ANY;
}

/* What a layer's channels share, kept in registers. */
typedef struct {
    int32x4_t low, high;
    int32_t zero_point;
} edk_codes;

static inline edk_codes edk_codes_of(const edk_requant *r)
{
    const edk_codes codes = {vdupq_n_s32(r->act_min), vdupq_n_s32(r->act_max), r->zero_point};
    return codes;
}

/* Accumulators to codes, as int32. right: shift where it is negative, else 0; left: shift where positive (ANY only). */
static inline __attribute__((always_inline)) int32x4_t
edk_finish4(const edk_codes *codes, int finish, int32x4_t x, int32x4_t multiplier, int32x4_t right, int32x4_t left)
{
    if (finish == EDK_FINISH_ANY) {
        x = vshlq_s32(x, left);
    }
    x = vqrdmulhq_s32(x, multiplier);
    if (finish != EDK_FINISH_RELU) {
        x = vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31));
    }
    x = vrshlq_s32(x, right);
    x = finish == EDK_FINISH_ANY ? vqaddq_n_s32(x, codes->zero_point) : vaddq_n_s32(x, codes->zero_point);
    return vminq_s32(vmaxq_s32(x, codes->low), codes->high);
}

#endif
