/* The last step of every decoder of rows: boxes of the candidates, best first, and greedy NMS inside each class. */
#ifndef EDK_DETECT_SUPPRESS_H
#define EDK_DETECT_SUPPRESS_H

#include "edk_detect.h"
#include "edk_detect_candidate.h"
#include "edk_detect_float.h"

/* Decodes one candidate. `decoder` is what the caller of edk_detect_suppress() gave. Returns whether the box has an
 * area. */
typedef int edk_detect_decode(const void *decoder, const edk_detect_candidate *candidate, edk_detection *detection);

static inline float edk_detect_area(const edk_detection *detection)
{
    return edk_rounded((detection->box[2] - detection->box[0]) * (detection->box[3] - detection->box[1]));
}

/* Whether the intersection of two boxes with areas is larger than nms_iou * union. */
static inline int edk_detect_overlaps(const edk_detection *a, float area_a, const edk_detection *b, float area_b,
                                      float nms_iou)
{
    if (a->box[2] <= b->box[0] || b->box[2] <= a->box[0] || a->box[3] <= b->box[1] || b->box[3] <= a->box[1]) {
        return 0; /* most pairs end here */
    }
    const float width =
        (a->box[2] < b->box[2] ? a->box[2] : b->box[2]) - (a->box[0] > b->box[0] ? a->box[0] : b->box[0]);
    const float height =
        (a->box[3] < b->box[3] ? a->box[3] : b->box[3]) - (a->box[1] > b->box[1] ? a->box[1] : b->box[1]);
    const float shared = edk_rounded(width * height);
    return shared > nms_iou * ((area_a + area_b) - shared);
}

/* Returns the number of detections that are kept. The scratch of a candidate that was looked at is free: number k holds
 * the area of detection k. `agnostic`: boxes of all classes suppress each other. */
static inline int32_t edk_detect_suppress(edk_detect_candidate *candidates, int32_t size, float nms_iou, int agnostic,
                                          edk_detect_decode *decode, const void *decoder, edk_detection *detections,
                                          int32_t max_detections)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < size && kept < max_detections; ++i) {
        edk_detection *const found = &detections[kept];
        if (!decode(decoder, &candidates[i], found)) {
            continue;
        }
        const float area = edk_detect_area(found);
        int32_t k = 0;
        while (k < kept && ((!agnostic && detections[k].label != found->label) ||
                            !edk_detect_overlaps(&detections[k], candidates[k].key.area, found, area, nms_iou))) {
            ++k;
        }
        if (k == kept) {
            candidates[kept++].key.area = area;
        }
    }
    return kept;
}

#endif
