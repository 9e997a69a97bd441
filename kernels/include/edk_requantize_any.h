/* QUANTIZE between int8 and int16, either way, and from int16 to int16. edk_lut_s8 does it between types of 8 bits. */
#ifndef EDK_REQUANTIZE_ANY_H
#define EDK_REQUANTIZE_ANY_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    edk_view in, out;           /* same height, width and channels; strides in elements of the own type */
    edk_type in_type, out_type; /* EDK_INT8 or EDK_INT16 */
    int32_t multiplier;
    int8_t shift; /* -31 .. 14; from input scale / output scale */
    int32_t zero_point, out_zero_point;
} edk_requantize_any_params;

/* out = clip(scaled(in - zero_point) + out_zero_point) over the codes of the type. Pointers are aligned to their
 * elements; no overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_requantize_any(const edk_requantize_any_params *params, const void *input, void *output);

#ifdef __cplusplus
}
#endif

#endif
