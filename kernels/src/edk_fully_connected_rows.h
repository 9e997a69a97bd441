/* The inner part of edk_fully_connected_s8 for one or two rows: no unfolding and no scratch. Chosen at compile time.
 *
 * The convolution's cores multiply four windows at a time, whether filled or not; below three rows, reading codes where
 * they are takes no more instructions and saves ten bytes of scratch for each value of a row.
 */
#ifndef EDK_FULLY_CONNECTED_ROWS_H
#define EDK_FULLY_CONNECTED_ROWS_H

#include "edk_fully_connected_s8.h"
#include "edk_target.h"

#if defined(EDK_USE_MVE)
#include "edk_fully_connected_mve.h"
#else
#include "edk_fully_connected_dot.h"
#endif

#endif
