/* DEQUANTIZE from int8, uint8 or int16 to float: the border behind a network that gives floats. */
#ifndef EDK_DEQUANTIZE_F32_H
#define EDK_DEQUANTIZE_F32_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    edk_view in, out; /* same height, width and channels; strides in elements of the own type */
    edk_type in_type; /* EDK_INT8, EDK_UINT8 or EDK_INT16 */
    float scale;
    int32_t zero_point; /* a code of the input */
} edk_dequantize_params;

/* out = (in - zero_point) * scale, one rounding. input: elements of the type, aligned to them; no overlap with output.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_dequantize_f32(const edk_dequantize_params *params, const void *input, float *output);

#ifdef __cplusplus
}
#endif

#endif
