/* From a heat map of int8 scores to detections: cells in which a class wins, neighbours merged (FOMO).
 *
 * Equal bit by bit to edgedet.numerics.heads.fomo.decode_cells of the dequantized map:
 *
 * 1. A cell belongs to the class with the highest value, on ties the lowest channel, when that is not the background and
 *    q >= q_threshold. Where classes have thresholds of their own, q has to reach that of its class, too.
 * 2. Cells of a class that touch, also at corners, are one object.
 * 3. Its score is the highest of its cells, float(q - zero_point) * scale. Its centre is the mean of the cells' centres
 *    weighted by score: sums in double, cells in row-major order. Its box has the size of a cell, rounded to float and
 *    clipped to the input.
 * 4. The best max_detections are kept, by score; equal scores by their first cell in row-major order.
 *
 * Nothing is suppressed by overlap. Double arithmetic is needed for each cell of an object only. Products that an
 * addition follows are exact or rounded through a volatile, so that a fused multiply-add changes nothing.
 */
#ifndef EDK_DETECT_CELLS_H
#define EDK_DETECT_CELLS_H

#include <stddef.h>
#include <stdint.h>

#include "edk_detect.h" /* edk_detection */
#include "edk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The output contract, as `edgedet deploy` writes it into the generated code. */
typedef struct edk_detect_cells_params {
    int32_t height;      /* cells, input height / stride */
    int32_t width;       /* cells, input width / stride */
    int32_t stride;      /* input px per cell */
    int32_t num_classes; /* >= 1, without the background */
    float scale;         /* > 0, finite */
    int16_t zero_point;  /* -128..127, subtracted from q */
    int16_t q_threshold; /* zero_point + 1..128, smallest q whose score is high enough; 128: none */
    int16_t background;  /* 1: channel 0 is the background; 0: there is none */
    /* [num_classes], smallest q of each class, which has to reach q_threshold, too; NULL: q_threshold is enough */
    const int16_t *class_thresholds;
} edk_detect_cells_params;

/* Bytes of scratch that edk_detect_cells needs: 4 for each cell. 0 when a side is not 1..65535, or for 2^29 cells. */
size_t edk_detect_cells_scratch_bytes(int32_t height, int32_t width);

/* Decode the heat map of one image.
 *
 *   params          the contract
 *   map             int8 [height][width][background + num_classes], no alignment
 *   scratch         at least edk_detect_cells_scratch_bytes(height, width) bytes, 4-byte aligned
 *   detections      result, room for max_detections, best first; boxes in px of the network's input
 *   max_detections  >= 1
 *   count           result, number of detections
 *
 * Scratch, map and results must not overlap. Reentrant: the state is in `scratch`. Time is bounded by
 * 5 * values of the map + objects * max_detections.
 *
 * Returns EDK_OK; EDK_ERROR_NULL; EDK_ERROR_RANGE: a number outside its range; EDK_ERROR_SHAPE: a side of the input that
 * is not 1..65535 px, or 2^31 values; EDK_ERROR_ALIGNMENT, EDK_ERROR_SCRATCH: see `scratch`. Nothing is written unless
 * EDK_OK.
 */
edk_status edk_detect_cells(const edk_detect_cells_params *params, const int8_t *map, void *scratch,
                            size_t scratch_bytes, edk_detection *detections, int32_t max_detections, int32_t *count);

#ifdef __cplusplus
}
#endif

#endif
