/* edk_preprocess for networks with one channel: the frame becomes grey, then everything is as in edk_preprocess.h.
 *
 * Bit-exact with edgedet.data.pictures.preprocess for channel order GRAY. Grey is ITU-R BT.601's luma, rounded half up:
 *
 *   EDK_PIXELS_GRAY8    the byte
 *   EDK_PIXELS_RGB888   (19595 * R + 38470 * G + 7471 * B + 32768) / 65536
 *   EDK_PIXELS_RGB565   the same of the widened channels
 *   EDK_PIXELS_YUYV     the Y bytes; U and V are not read
 */
#ifndef EDK_PREPROCESS_GRAY_H
#define EDK_PREPROCESS_GRAY_H

#include "edk_preprocess.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of scratch that edk_preprocess_gray needs: as edk_preprocess_scratch_bytes, with 1 * image width for the row.
 *
 * Returns 0 for sides out of range, a null pointer or an unknown mode.
 */
size_t edk_preprocess_gray_scratch_bytes(const edk_preprocess_params *params, int32_t image_width,
                                         int32_t image_height);

/* Convert to grey, resize, pad and quantize one frame.
 *
 *   image          the frame, any format
 *   params         the contract; the table has 256 entries
 *   scratch        at least edk_preprocess_gray_scratch_bytes(...) bytes, 2-byte aligned
 *   output         int8 [input_height][input_width][1]
 *   placement      where the image lies in the input, for edk_image_box; may be null
 *
 * Overlap, reentrance and statuses as in edk_preprocess.
 */
edk_status edk_preprocess_gray(const edk_image *image, const edk_preprocess_params *params, void *scratch,
                               size_t scratch_bytes, int8_t *output, edk_placement *placement);

#ifdef __cplusplus
}
#endif

#endif
