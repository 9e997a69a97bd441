/* One or two rows of edk_fully_connected_s8 for MVE: edk_conv_mve.h reads windows of a 1x1 convolution where they are. */
#ifndef EDK_FULLY_CONNECTED_MVE_H
#define EDK_FULLY_CONNECTED_MVE_H

#include "edk_conv_mve.h"
#include "edk_fully_connected_s8.h"

/* conv: the same as a 1x1 convolution over an image of one row, of fewer than EDK_CONV_PIXELS pixels. */
static inline void edk_fully_connected_rows(const edk_conv_params *conv, const int8_t *input, int8_t *output)
{
    edk_conv_block block;
    int8_t *out[EDK_CONV_PIXELS] = {NULL};
    edk_conv_block_init(&block, conv, NULL);
    for (int i = 0; i < EDK_CONV_PIXELS; i++) {
        /* Windows that do not exist are replaced by the last that does; their sums are not stored. */
        const int row = i < conv->out.width ? i : conv->out.width - 1;
        block.windows[i] = input + (ptrdiff_t)row * conv->in.channels;
        out[i] = output + (ptrdiff_t)row * conv->out.channels;
    }
    edk_conv_block_finish(&block, EDK_FINISH_ANY, conv->out.width, out); /* for every layer, to keep the code small */
}

#endif
