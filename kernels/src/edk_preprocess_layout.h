/* How edk_preprocess and edk_preprocess_gray divide their scratch; shared with the functions that name its size. */
#ifndef EDK_PREPROCESS_LAYOUT_H
#define EDK_PREPROCESS_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

typedef struct edk_preprocess_layout {
    int32_t taps_x; /* coefficients of an output pixel, at most */
    int32_t taps_y;
    size_t first_x; /* byte offset of uint16 [new_width]; at 0 are the coefficients, uint16 [new_width][taps_x] */
    size_t coefficients_y; /* byte offset of uint16 [taps_y] */
    size_t row;            /* byte offset of uint8 [image_width][channels] */
    size_t bytes;          /* of all */
} edk_preprocess_layout;

/* Sources with a weight lie in an open interval of 4 * max(n_in, n_out), in steps of 2 * n_out. */
static inline int32_t edk_preprocess_taps(int32_t n_in, int32_t n_out)
{
    const int32_t longest = n_in > n_out ? n_in : n_out;
    const int32_t taps = (2 * longest + n_out - 1) / n_out;
    return taps < n_in ? taps : n_in;
}

static inline edk_preprocess_layout edk_preprocess_plan(const edk_placement *placement, int32_t channels)
{
    edk_preprocess_layout plan;
    plan.taps_x = edk_preprocess_taps(placement->image_width, placement->new_width);
    plan.taps_y = edk_preprocess_taps(placement->image_height, placement->new_height);
    plan.first_x = (size_t)placement->new_width * (size_t)plan.taps_x * sizeof(uint16_t);
    plan.coefficients_y = plan.first_x + (size_t)placement->new_width * sizeof(uint16_t);
    plan.row = plan.coefficients_y + (size_t)plan.taps_y * sizeof(uint16_t);
    plan.bytes = plan.row + (size_t)placement->image_width * (size_t)channels;
    return plan;
}

#endif
