/* Requantization of one channel on a processor with the DSP extension.
 *
 * For channels of EDK_REQUANT_NARROW: with |accumulator| < 2^30, 2 * accumulator fits, and
 * (2 * accumulator * multiplier + 2^31) >> 32 is the doubling high product of edk_types.h. With e = -shift >= 1 its
 * division, ties away from zero, is (x - (x < 0) + 2^(e - 1)) >> e; the zero point joins the same sum as
 * zero_point * 2^e. |x| < 2^30 and e <= 22 keep that sum inside int32. Where act_min >= zero_point, a negative x is
 * clipped whatever its rounding, and the term (x < 0) is left out.
 */
#ifndef EDK_REQUANT_DSP_H
#define EDK_REQUANT_DSP_H

#include "edk_dsp.h"
#include "edk_scale.h"

typedef struct {
    int32_t multiplier;
    int32_t exponent; /* -shift */
    int32_t rounding; /* half and zero point; narrow only */
} edk_channel;

static inline edk_channel edk_channel_of(const edk_requant *r, int channel)
{
    edk_channel c;
    c.multiplier = r->multiplier[channel];
    c.exponent = -r->shift[channel];
    c.rounding = (r->flags & EDK_REQUANT_NARROW) != 0 ? (1 << (c.exponent - 1)) + r->zero_point * (1 << c.exponent) : 0;
    return c;
}

/* From slow to quick; macros, since assembly compares with one of them. */
#define EDK_FINISH_ANY 0
#define EDK_FINISH_NARROW 1
#define EDK_FINISH_RELU 2

/* Which of the above fits every channel of a layer. EDK_FINISH_RELU also needs the whole range of codes above. */
static inline int edk_finish_of(const edk_requant *r)
{
    if ((r->flags & EDK_REQUANT_NARROW) == 0) {
        return EDK_FINISH_ANY;
    }
    return r->act_min == -128 && r->act_max == 127 && r->zero_point == -128 ? EDK_FINISH_RELU : EDK_FINISH_NARROW;
}

static inline int8_t edk_finish(const edk_requant *r, const edk_channel *c, int finish, int32_t accumulator)
{
    if (finish == EDK_FINISH_ANY) {
        const int32_t scaled = edk_scale(accumulator, c->multiplier, -c->exponent);
        return edk_clip_code(scaled, r->zero_point, r->act_min, r->act_max);
    }
    const int32_t x = edk_smmulr(accumulator * 2, c->multiplier);
    if (finish == EDK_FINISH_RELU) {
        return (int8_t)edk_ssat8((x + c->rounding) >> c->exponent);
    }
    return (int8_t)edk_clip((x + (x >> 31) + c->rounding) >> c->exponent, r->act_min, r->act_max);
}

#endif
