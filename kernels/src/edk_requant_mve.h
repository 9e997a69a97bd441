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

enum { EDK_FINISH_ANY, EDK_FINISH_NARROW, EDK_FINISH_RELU }; /* from slow to quick */

/* Which of the above fits every channel of a layer. */
static inline int edk_finish_of(const edk_requant *r)
{
    if ((r->flags & EDK_REQUANT_NARROW) == 0) {
        return EDK_FINISH_ANY;
    }
    return r->act_min >= r->zero_point ? EDK_FINISH_RELU : EDK_FINISH_NARROW;
}

/* Accumulators to codes, as int32. right: shift where it is negative, else 0; left: shift where positive (ANY only). */
static inline int32x4_t edk_finish4(const edk_requant *r, int finish, int32x4_t x, int32x4_t multiplier,
                                    int32x4_t right, int32x4_t left)
{
    if (finish == EDK_FINISH_ANY) {
        x = vshlq_s32(x, left);
    }
    x = vqrdmulhq_s32(x, multiplier);
    if (finish != EDK_FINISH_RELU) {
        x = vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31));
    }
    x = vrshlq_s32(x, right);
    x = finish == EDK_FINISH_ANY ? vqaddq_n_s32(x, r->zero_point) : vaddq_n_s32(x, r->zero_point);
    x = vmaxq_s32(x, vdupq_n_s32(r->act_min));
    return vminq_s32(x, vdupq_n_s32(r->act_max));
}

#endif
