/* RESIZE_NEAREST_NEIGHBOR, int8. */
#ifndef EDK_RESIZE_NEAREST_S8_H
#define EDK_RESIZE_NEAREST_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* rows: input row of every output row (out.height entries, 0 .. in.height - 1, not decreasing); columns likewise. Made
 * at export with the operator's float32 rule, so that the chip needs no floating point.
 * Input and output share scale and zero point; in.channels == out.channels.
 */
typedef struct {
    edk_view in, out;
    const int16_t *rows;
    const int16_t *columns;
} edk_resize_nearest_params;

/* out(y, x) = in(rows[y], columns[x]); input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE, or EDK_ERROR_RANGE if a table points outside the input; nothing is
 * written unless EDK_OK.
 */
edk_status edk_resize_nearest_s8(const edk_resize_nearest_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
