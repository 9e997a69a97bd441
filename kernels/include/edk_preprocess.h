/* From a camera's frame to the network's int8 input: resize, pad, quantize. Integer arithmetic only.
 *
 * Bit-exact with edgedet.data.pictures.preprocess (resize_to_input, then quantize_input), whose text defines the filter: a
 * triangle, as wide as the reduction (bilinear when enlarging), half-pixel centres, 15-bit coefficients that sum to
 * exactly 2^15, made here by integer divisions. The vertical pass comes first, its result is rounded half up to uint8 and
 * goes through the horizontal pass, rounded alike. Every sum is at most 255 * 2^15 + 2^14 < 2^23 + 2^14: uint32 never
 * overflows.
 *
 * The frame is never copied. Each of its rows takes part in about two rows of the output (enlarging: in about twice as
 * many as it is enlarged) and is converted from its pixel format each time; all rows of an output row, 2 * height / new
 * height of them, are read side by side.
 *
 * Pixel formats, bit-exact with edgedet.data.pictures.pixel_formats:
 *
 *   EDK_PIXELS_RGB888   3 bytes a pixel: R, G, B.
 *   EDK_PIXELS_RGB565   2 bytes a pixel, little endian: red in bits 15..11, green in 10..5, blue in 4..0. Widened to 8
 *                       bits by repeating the upper bits below: r = r5 << 3 | r5 >> 2, g = g6 << 2 | g6 >> 4.
 *                       0 becomes 0, the largest value becomes 255.
 *   EDK_PIXELS_YUYV     4 bytes for 2 pixels: Y0, U, Y1, V (YUV 4:2:2); the width must be even. ITU-R BT.601, full range
 *                       (Y, U and V 0..255, as in JPEG/JFIF), both pixels with the same U and V:
 *                         R = clip(floor((65536 * Y                    +  91881 * (V - 128) + 32768) / 65536))
 *                         G = clip(floor((65536 * Y -  22554 * (U - 128) - 46802 * (V - 128) + 32768) / 65536))
 *                         B = clip(floor((65536 * Y + 116130 * (U - 128)                    + 32768) / 65536))
 *                       clip: to 0..255. A camera that sends limited range (Y 16..235) must be switched to full range, or
 *                       its pictures come out with less contrast than those of the training.
 *   EDK_PIXELS_GRAY8    1 byte a pixel; only for edk_preprocess_gray.
 */
#ifndef EDK_PREPROCESS_H
#define EDK_PREPROCESS_H

#include <stddef.h>
#include <stdint.h>

#include "edk_placement.h"
#include "edk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum edk_pixel_format {
    EDK_PIXELS_RGB888 = 0,
    EDK_PIXELS_RGB565 = 1,
    EDK_PIXELS_YUYV = 2,
    EDK_PIXELS_GRAY8 = 3
} edk_pixel_format;

/* A frame, top row first. No alignment demanded. */
typedef struct edk_image {
    const uint8_t *pixels;
    int32_t width;        /* px, 1..EDK_MAX_SIDE; even for EDK_PIXELS_YUYV */
    int32_t height;       /* px, 1..EDK_MAX_SIDE */
    int32_t stride_bytes; /* from one row to the next; at least the bytes of a row */
    edk_pixel_format format;
} edk_image;

/* The preprocessing contract, as `edgedet deploy` writes it into the generated code. */
typedef struct edk_preprocess_params {
    int32_t input_width;  /* px, 1..EDK_MAX_SIDE */
    int32_t input_height; /* px */
    edk_resize_mode resize;
    uint8_t pad_value; /* of all channels, before quantization */
    /* int8 [3][256], [channel][pixel value]: edgedet.data.pictures.preprocess.quantization_table; grey: [256] */
    const int8_t *table;
} edk_preprocess_params;

/* Bytes of scratch that edk_preprocess needs: 3 * image width for one row, 2 bytes for each coefficient (about
 * 2 * image width + 2 * image height / new height of them) and 2 * new width. 640x480 to 192x192: 5,006.
 *
 * Returns 0 for sides out of range, a null pointer or an unknown mode.
 */
size_t edk_preprocess_scratch_bytes(const edk_preprocess_params *params, int32_t image_width, int32_t image_height);

/* Resize, pad and quantize one frame.
 *
 *   image          the frame
 *   params         the contract
 *   scratch        at least edk_preprocess_scratch_bytes(params, image->width, image->height) bytes, 2-byte aligned
 *   output         int8 [input_height][input_width][3], NHWC, RGB
 *   placement      where the image lies in the input, for edk_image_box; may be null
 *
 * Image, scratch, output and placement must not overlap. Reentrant: the state is in `scratch`.
 *
 * Returns EDK_OK; EDK_ERROR_NULL; EDK_ERROR_RANGE: unknown format or mode; EDK_ERROR_SHAPE: a side out of range, an odd
 * YUYV width, a stride below the bytes of a row; EDK_ERROR_ALIGNMENT, EDK_ERROR_SCRATCH: see `scratch`. Nothing is
 * written unless EDK_OK.
 */
edk_status edk_preprocess(const edk_image *image, const edk_preprocess_params *params, void *scratch,
                          size_t scratch_bytes, int8_t *output, edk_placement *placement);

#ifdef __cplusplus
}
#endif

#endif
