/* Copies between views: CONCATENATION one part at a time, SPLIT, SLICE, RESHAPE. */
#ifndef EDK_COPY_S8_H
#define EDK_COPY_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    edk_view in, out; /* same height, width and channels */
} edk_copy_params;

/* Copy a view. Concatenation along channels: out is the whole tensor's strides, and the output pointer is moved by the
 * channels of the parts before; along rows or columns likewise.
 * input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL or EDK_ERROR_SHAPE; nothing is written unless EDK_OK.
 */
edk_status edk_copy_s8(const edk_copy_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
