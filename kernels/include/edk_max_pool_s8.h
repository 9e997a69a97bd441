/* MAX_POOL_2D, int8. */
#ifndef EDK_MAX_POOL_S8_H
#define EDK_MAX_POOL_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Input and output share scale and zero point; in.channels == out.channels. Dilations must be 1. */
typedef struct {
    edk_view in, out;
    edk_window window;
    int16_t act_min, act_max;
} edk_pool_params;

/* Largest code inside the window and inside the input, clipped to act_min .. act_max. Every window must touch the
 * input. input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL, EDK_ERROR_SHAPE or EDK_ERROR_RANGE; nothing is written unless EDK_OK.
 */
edk_status edk_max_pool_s8(const edk_pool_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
