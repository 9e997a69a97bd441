/* PAD and PADV2 of height, width and channels, int8. In front of a convolution, fold it instead (edk_window). */
#ifndef EDK_PAD_S8_H
#define EDK_PAD_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The input is placed at (top, left, front) of the output; what it does not cover becomes `fill`.
 * top + in.height <= out.height, left + in.width <= out.width, front + in.channels <= out.channels.
 */
typedef struct {
    edk_view in, out;
    int16_t top, left, front;
    int16_t fill; /* PAD: the zero point; -128 .. 127 */
} edk_pad_params;

/* input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_pad_s8(const edk_pad_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
