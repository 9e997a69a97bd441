/* What operators on two inputs share, of which one may be repeated along an axis. */
#ifndef EDK_BROADCAST_H
#define EDK_BROADCAST_H

#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element (y, x, c) of an operand is at y * row + x * pixel + c * channel; a step of 0 repeats it along that axis.
 * Ranges: height, width, channels >= 1; in1.channel and in2.channel 0 or 1; out.channel must be 1.
 */
typedef struct {
    int16_t height, width, channels;
    edk_steps in1, in2, out;
} edk_broadcast;

#ifdef __cplusplus
}
#endif

#endif
