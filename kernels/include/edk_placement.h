/* Where the camera's image lies in the network's input, and the way back for boxes. */
#ifndef EDK_PLACEMENT_H
#define EDK_PLACEMENT_H

#include <stdint.h>

#include "edk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Longest side of an image and of a network's input, px. Keeps every product of two sides inside 64 bits, and one
 * coordinate inside 16. */
#define EDK_MAX_SIDE 65535

typedef enum edk_resize_mode {
    EDK_RESIZE_LETTERBOX = 0, /* keeps the aspect ratio; the image at the top left, the rest is padding */
    EDK_RESIZE_STRETCH = 1,   /* fills the input */
    /* The same with the contract's interpolation `bilinear` in place of `area`. */
    EDK_RESIZE_LETTERBOX_BILINEAR = 2,
    EDK_RESIZE_STRETCH_BILINEAR = 3
} edk_resize_mode;

/* The image covers the top left new_width x new_height pixels of the input. */
typedef struct edk_placement {
    int32_t image_width;  /* px, 1..EDK_MAX_SIDE */
    int32_t image_height; /* px */
    int32_t new_width;    /* px, 1..input width */
    int32_t new_height;   /* px, 1..input height */
} edk_placement;

/* Size of an image inside the network's input; equals edgedet.data.pictures.preprocess.fitted_size.
 *
 * Letterbox: the side that limits fills the input, the other one is scaled alike, rounded half up, at least 1 px.
 * Integer arithmetic only.
 *
 *   image_width, image_height, input_width, input_height   px, 1..EDK_MAX_SIDE
 *   placement                                              result, written only when EDK_OK
 *
 * Returns EDK_OK; EDK_ERROR_NULL; EDK_ERROR_RANGE: unknown mode; EDK_ERROR_SHAPE: a side is out of range.
 */
edk_status edk_place_image(int32_t image_width, int32_t image_height, int32_t input_width, int32_t input_height,
                           edk_resize_mode mode, edk_placement *placement);

/* A box of the network's input in pixels of the image; equals edgedet's Placement.to_image bit by bit.
 *
 * double(corner) * (double(image side) / double(new side)), clipped to 0..image side, rounded once to float. A NaN stays
 * one. No scratch; `input_box` and `image_box` may be the same array.
 *
 *   placement   sides >= 1
 *   input_box   x1, y1, x2, y2, px of the network's input
 *   image_box   result, px of the image, written only when EDK_OK
 *
 * Returns EDK_OK; EDK_ERROR_NULL; EDK_ERROR_SHAPE: a side of the placement is not positive.
 */
edk_status edk_image_box(const edk_placement *placement, const float input_box[4], float image_box[4]);

#ifdef __cplusplus
}
#endif

#endif
