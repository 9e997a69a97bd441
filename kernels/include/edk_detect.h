/* From the network's int8 outputs to detections: decode and class-aware NMS within a fixed memory.
 *
 * Equal bit by bit to edgedet.numerics.decode.decode_int8, whose text defines the steps:
 *
 * 1. Every (cell, class) with q >= q_threshold of its level is a candidate: one int8 comparison each. Where classes have
 *    thresholds of their own, those of its class, too.
 * 2. The best max_candidates of them go on: by logit, highest first; equal logits by level, then cell (row-major), then
 *    class, lowest first. The logit is float(q - zero_point) * scale, an exact integer times a constant, rounded once, so
 *    that logits of levels with different scales compare the same on every machine.
 * 3. Box of cell (row, column): prior (column * stride, row * stride) minus / plus float(q - zero_point) * scale *
 *    stride, clipped to the input (width and height of the first level's grid times its stride). A box without area is
 *    dropped.
 * 4. A candidate goes when a kept box of its class has intersection > nms_iou * union, in float32: no division.
 * 5. It ends after max_detections.
 *
 * There is no exponential: the score of a detection is read from a table of 256 floats for each level, made at export
 * (edgedet.numerics.decode.score_table), and takes no part in any decision. Products that an addition follows are rounded
 * through a volatile, so that no compiler fuses them into one multiply-add with another result; float arithmetic must be
 * IEEE 754 single precision, as it is on Cortex-M with and without FPU (not with -ffast-math).
 */
#ifndef EDK_DETECT_H
#define EDK_DETECT_H

#include <stddef.h>
#include <stdint.h>

#include "edk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EDK_MAX_LEVELS 16

/* Constants of one stride level. */
typedef struct edk_detect_level {
    int32_t height;           /* cells, ceil(input height / stride) */
    int32_t width;            /* cells, ceil(input width / stride) */
    int32_t stride;           /* input px per cell */
    float cls_scale;          /* > 0, finite */
    float box_scale;          /* > 0, finite */
    int16_t cls_zero_point;   /* -128..127, subtracted from q */
    int16_t box_zero_point;   /* -128..127, subtracted from q */
    int16_t q_threshold;      /* -128..128, smallest q that is a candidate; 128: none. decode.quantized_threshold */
    const float *score_table; /* [256], score of q at [q + 128] */
    /* [num_classes], smallest q of each class, which has to reach q_threshold, too; NULL: q_threshold is enough */
    const int16_t *class_thresholds;
} edk_detect_level;

/* The output contract, as `edgedet deploy` writes it into the generated code. */
typedef struct edk_detect_params {
    const edk_detect_level *levels; /* [num_levels], in contract order */
    int32_t num_levels;             /* 1..EDK_MAX_LEVELS */
    int32_t num_classes;            /* >= 1 */
    float nms_iou;                  /* 0 < nms_iou <= 1 */
} edk_detect_params;

typedef struct edk_detection {
    float box[4];  /* x1, y1, x2, y2, px of the network's input; edk_image_box maps them to the image */
    float score;   /* 0..1 */
    int32_t label; /* 0..num_classes - 1 */
} edk_detection;

/* Bytes of scratch that edk_detect needs: 8 for each candidate. 0 when max_candidates is not 1..2^24. */
size_t edk_detect_scratch_bytes(int32_t max_candidates);

/* Decode the outputs of one image.
 *
 *   params          the contract
 *   outputs         [2 * num_levels] int8 tensors in contract order: class logits [height][width][num_classes] and
 *                   left/top/right/bottom distances in strides [height][width][4] of each level, NHWC, no alignment
 *   scratch         at least edk_detect_scratch_bytes(max_candidates) bytes, 4-byte aligned
 *   max_candidates  1..2^24, budget of step 2; decode_int8 has 1000 unless told otherwise. With fewer, only the weakest
 *                   candidates of a crowded image are lost
 *   detections      result, room for max_detections, best first
 *   max_detections  >= 1
 *   count           result, number of detections
 *
 * Scratch, outputs and results must not overlap. Reentrant: the state is in `scratch`. Time is bounded by
 * logits + max_candidates * (log2(max_candidates) + max_detections).
 *
 * Returns EDK_OK; EDK_ERROR_NULL; EDK_ERROR_RANGE: a number outside its range; EDK_ERROR_SHAPE: a grid that does not fit
 * the first level's, a side of the input above 65535 px, or 2^31 logits; EDK_ERROR_ALIGNMENT, EDK_ERROR_SCRATCH: see
 * `scratch`. Nothing is written unless EDK_OK.
 */
edk_status edk_detect(const edk_detect_params *params, const int8_t *const *outputs, void *scratch,
                      size_t scratch_bytes, int32_t max_candidates, edk_detection *detections, int32_t max_detections,
                      int32_t *count);

#ifdef __cplusplus
}
#endif

#endif
