/* CONCATENATION, int8: all parts have the scale of the output. */
#ifndef EDK_CONCAT_S8_H
#define EDK_CONCAT_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Part i is read as `outer` runs of part_bytes[i] codes; the output is `outer` runs of their sum. Along the last axis of
 * NHWC: outer = height * width, part_bytes[i] = channels of part i; along rows: outer = 1, part_bytes[i] = whole part.
 */
typedef struct {
    int32_t outer;
    int32_t parts;
    const int32_t *part_bytes;
} edk_concat_params;

/* Join parts. inputs: `parts` pointers, dense tensors that do not overlap the output.
 * Returns EDK_OK, EDK_ERROR_NULL or EDK_ERROR_SHAPE; nothing is written unless EDK_OK.
 */
edk_status edk_concat_s8(const edk_concat_params *params, const int8_t *const *inputs, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
