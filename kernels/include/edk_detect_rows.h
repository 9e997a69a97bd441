/* From the int8 tensors of a head with rows of boxes to detections: YOLOX, YOLOv3, v5, v8, NanoDet, SSD and their like.
 *
 * A row is one anchor of one cell: numbers of a box, perhaps an objectness, and a number for each class. Where they lie in
 * which tensor is said by views, so that separate and joint tensors, channels last and first, go the same way.
 *
 * Equal bit by bit to edgedet.numerics.heads.decode.decode_outputs of the dequantized outputs:
 *
 * 1. Score of a (row, class): what the code of the class stands for, or its power divided by the sum of the row's
 *    (softmax), times what the code of the objectness stands for. Every pair above score_threshold is a candidate; where
 *    classes have thresholds of their own, above that of its class, too. Codes below cls_threshold and obj_threshold
 *    can't be one: one int8 comparison rejects most rows.
 *    EDK_SCORE_OBJECTNESS: the class with the highest code (the first one on ties) has the objectness as its score.
 *    agnostic: a row has its best class only.
 * 2. The best max_candidates of them go on: by score, highest first; equal scores by level, row, class, lowest first.
 * 3. Numbers of the box: what their codes stand for; with bins the mean of a softmax, sums in double. Then corners, clipped
 *    to the input; a box without area is dropped.
 * 4. A candidate goes when a kept box of its class has intersection > nms_iou * union. agnostic: of any class, and boxes are
 *    clipped after this step instead.
 * 5. It ends after max_detections.
 *
 * There is no exponential: codes stand for what a table of 256 says, made at export, and powers are such tables of double.
 * Double arithmetic is needed for softmaxes only. Products that an addition follows are rounded through a volatile, as in
 * edk_detect().
 */
#ifndef EDK_DETECT_ROWS_H
#define EDK_DETECT_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "edk_detect.h" /* edk_detection, edk_detect_scratch_bytes(), EDK_MAX_LEVELS */
#include "edk_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EDK_MAX_ROW_TENSORS (3 * EDK_MAX_LEVELS)

/* What the four numbers of a box are. */
enum {
    EDK_BOX_DISTANCES, /* left, top, right, bottom in strides from ((column + offset) * stride, (row + offset) * stride) */
    EDK_BOX_CELLS,     /* centre ((x + column) * stride, (y + row) * stride), sides in strides or in anchors */
    EDK_BOX_ANCHORS, /* y, x, height, width: centre and sides relative to the row's anchor */
    EDK_BOX_CENTRE,  /* x, y, width, height in px */
    EDK_BOX_CORNERS  /* x1, y1, x2, y2 in px */
};

/* What the score of a class is, before the objectness. */
enum {
    EDK_SCORE_CODES,     /* what its code stands for */
    EDK_SCORE_SOFTMAX,   /* its power / sum of the row's powers */
    EDK_SCORE_OBJECTNESS /* only the best class has one: the objectness */
};

/* Where the numbers of a row lie: at offset + cell * cell_step + anchor * anchor_step + channel * channel_step. */
typedef struct edk_detect_view {
    int32_t tensor; /* 0..num_tensors - 1 */
    int32_t offset;
    int32_t cell_step;
    int32_t anchor_step; /* 0: all anchors of a cell share them */
    int32_t channel_step;
} edk_detect_view;

/* What a code stands for. */
typedef struct edk_detect_codes {
    const float *table; /* [256], of q at [q + 128]; NULL: float(q - zero_point) * scale */
    float scale;        /* > 0, finite */
    int16_t zero_point; /* -128..127 */
} edk_detect_codes;

/* Rows that share strides and tensors. */
typedef struct edk_detect_rows_level {
    int32_t height;  /* cells; without a grid: the number of rows */
    int32_t width;   /* cells; without a grid: 1 */
    int32_t stride;  /* input px per cell, 1..65535; without a grid not used */
    int32_t anchors; /* of each cell, >= 1; rows are numbered cell * anchors + anchor */
    edk_detect_view cls;
    edk_detect_view box;
    edk_detect_view obj; /* where there is an objectness */
    edk_detect_codes cls_codes;
    edk_detect_codes box_codes[4];
    edk_detect_codes obj_codes;
    const double *cls_powers; /* [256], > 0; EDK_SCORE_SOFTMAX, else not used */
    const double *bin_powers; /* [256], > 0; where there are bins, else not used */
    /* EDK_BOX_CELLS: [anchors] of width, height, or NULL: the stride. EDK_BOX_ANCHORS: [rows] of centre x, centre y,
     * width, height */
    const float *anchor_px;
    int16_t cls_threshold; /* -128..128, smallest code that can be a candidate */
    int16_t obj_threshold; /* likewise, of the objectness */
} edk_detect_rows_level;

/* The output contract, as `edgedet deploy` writes it into the generated code. */
typedef struct edk_detect_rows_params {
    int32_t input_width;  /* px, 1..65535 */
    int32_t input_height; /* px, 1..65535 */
    const edk_detect_rows_level *levels;
    int32_t num_levels;          /* 1..EDK_MAX_LEVELS */
    const int32_t *tensor_bytes; /* [num_tensors] */
    int32_t num_tensors;         /* 1..EDK_MAX_ROW_TENSORS */
    int32_t num_classes;         /* >= 1, without the background */
    int32_t bins;                /* of each side, 2..1024; 0: none. EDK_BOX_DISTANCES only */
    int16_t box_coding;          /* EDK_BOX_... */
    int16_t score_coding;        /* EDK_SCORE_... */
    int16_t background;          /* 1: the first class number is the background's; 0: there is none */
    int16_t objectness;          /* 1: rows have one */
    int16_t agnostic;            /* 1: step 1 and 4 */
    float offset;                /* of EDK_BOX_DISTANCES, in cells, finite */
    float score_threshold;       /* 0 <= t < 1, scores must be higher */
    float nms_iou;               /* 0 < nms_iou <= 1 */
    /* [num_classes], scores of each class must be higher, and than score_threshold, too; NULL: than that alone */
    const float *class_thresholds;
} edk_detect_rows_params;

/* Decode the outputs of one image.
 *
 *   params          the contract
 *   outputs         [num_tensors] int8 tensors of tensor_bytes each, no alignment
 *   scratch         at least edk_detect_scratch_bytes(max_candidates) bytes, 4-byte aligned
 *   max_candidates  1..2^24, budget of step 2; decode_outputs has 1000
 *   detections      result, room for max_detections, best first; boxes in px of the network's input
 *   max_detections  >= 1
 *   count           result, number of detections
 *
 * Scratch, outputs and results must not overlap. Reentrant: the state is in `scratch`. Time is bounded by
 * numbers of the classes + max_candidates * (log2(max_candidates) + max_detections + 4 * bins).
 *
 * Returns EDK_OK; EDK_ERROR_NULL; EDK_ERROR_RANGE: a number outside its range; EDK_ERROR_SHAPE: a view that leaves its
 * tensor, or 2^31 numbers of classes; EDK_ERROR_ALIGNMENT, EDK_ERROR_SCRATCH: see `scratch`. Nothing is written unless
 * EDK_OK.
 */
edk_status edk_detect_rows(const edk_detect_rows_params *params, const int8_t *const *outputs, void *scratch,
                           size_t scratch_bytes, int32_t max_candidates, edk_detection *detections,
                           int32_t max_detections, int32_t *count);

#ifdef __cplusplus
}
#endif

#endif
