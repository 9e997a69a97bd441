/* What edk_preprocess and edk_preprocess_gray share: the filters of edk_preprocess.h along both axes. Not public. */
#ifndef EDK_PREPROCESS_FILTER_H
#define EDK_PREPROCESS_FILTER_H

#include "edk_preprocess.h"
#include "edk_preprocess_layout.h"

#define COEFFICIENT_BITS 15
#define HALF (UINT32_C(1) << (COEFFICIENT_BITS - 1))

/* Filter of one output pixel along one axis; writes at most edk_preprocess_taps(n_in, n_out) coefficients.
 * Returns their number; first: the source pixel of the first. */
int32_t edk_preprocess_filter(int32_t n_in, int32_t n_out, int32_t index, edk_resize_mode mode, uint16_t *coefficients,
                              int32_t *first);

/* The rows of the frame that make one row of the reduced height. */
typedef struct edk_row_filter {
    const uint8_t *pixels; /* of the first row */
    size_t stride_bytes;
    const uint16_t *coefficients;
    int32_t taps;
} edk_row_filter;

static inline edk_row_filter edk_rows_of(const edk_image *image, int32_t first, const uint16_t *coefficients,
                                         int32_t taps)
{
    edk_row_filter filter;
    filter.stride_bytes = (size_t)image->stride_bytes;
    filter.pixels = image->pixels + (size_t)first * filter.stride_bytes;
    filter.coefficients = coefficients;
    filter.taps = taps;
    return filter;
}

/* Sides and stride of a frame of a known format. */
static inline edk_status edk_check_frame(const edk_image *image, size_t row_bytes)
{
    if (image->width < 1 || image->width > EDK_MAX_SIDE || image->height < 1 || image->height > EDK_MAX_SIDE ||
        (image->format == EDK_PIXELS_YUYV && image->width % 2 != 0)) {
        return EDK_ERROR_SHAPE;
    }
    if (image->stride_bytes < 0 || (size_t)image->stride_bytes < row_bytes ||
        (size_t)image->stride_bytes > SIZE_MAX / 2 / (size_t)image->height) {
        return EDK_ERROR_SHAPE;
    }
    return EDK_OK;
}

/* Where the image lies, and the parts of the caller's scratch. */
typedef struct edk_filters {
    edk_placement placed;
    int32_t taps_x;
    uint16_t *coefficients_x; /* made for all columns */
    uint16_t *first_x;
    uint16_t *coefficients_y; /* made row by row */
    uint8_t *row;             /* of the reduced height, still as wide as the image */
} edk_filters;

/* Place a checked frame, divide the scratch and make the filters of the columns. channels: of the network's input. */
edk_status edk_preprocess_begin(const edk_image *image, const edk_preprocess_params *params, int32_t channels,
                                void *scratch, size_t scratch_bytes, edk_filters *filters);

#endif
