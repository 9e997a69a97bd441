/* RESIZE_BILINEAR, int8. */
#ifndef EDK_RESIZE_BILINEAR_S8_H
#define EDK_RESIZE_BILINEAR_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* rows: three numbers for every output row (3 * out.height entries): input row above, input row below, and how much of
 * the second, in 1/1024; columns likewise. Made at export with the operator's rule.
 * Ranges: input rows 0 .. in.height - 1, shares 0 .. 1024. Input and output share scale and zero point;
 * in.channels == out.channels.
 */
typedef struct {
    edk_view in, out;
    const int16_t *rows;
    const int16_t *columns;
} edk_resize_bilinear_params;

/* Blend four codes with weights of 20 bits and round, ties away from zero; input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE, or EDK_ERROR_RANGE if a table points outside the input or a share is
 * out of range; nothing is written unless EDK_OK.
 */
edk_status edk_resize_bilinear_s8(const edk_resize_bilinear_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
