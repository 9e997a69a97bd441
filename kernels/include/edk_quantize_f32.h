/* QUANTIZE from float to int8 or int16: the border in front of a network that takes floats. */
#ifndef EDK_QUANTIZE_F32_H
#define EDK_QUANTIZE_F32_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    edk_view in, out;   /* same height, width and channels; strides in elements of the own type */
    edk_type out_type;  /* EDK_INT8 or EDK_INT16 */
    float scale;        /* > 0 */
    int32_t zero_point; /* a code of the output */
} edk_quantize_params;

/* out = clip(round(in / scale) + zero_point) over the codes of the type; the division is one float operation, ties go
 * away from zero: TFLite's AffineQuantize. Where that has no defined result (its conversion to int32 overflows) this one
 * saturates, and NaN becomes the zero point.
 * output: int8_t or int16_t elements, aligned to them; no overlap with input.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_quantize_f32(const edk_quantize_params *params, const float *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
