/* What holds for the detections of every decoder with NMS. */
#ifndef FUZZ_DETECTIONS_H
#define FUZZ_DETECTIONS_H

#include "fuzz_input.h"

#include "edk_detect.h"
#include "edk_placement.h"

static inline float least(float a, float b)
{
    return a < b ? a : b;
}

static inline float most(float a, float b)
{
    return a > b ? a : b;
}

/* Inside an input of width and height px, with an area; and so is the box that it becomes in any image. */
static inline void check_box(int32_t width, int32_t height, const edk_detection *found, fuzz_input *input)
{
    REQUIRE(found->box[0] >= 0 && found->box[0] < found->box[2] && found->box[2] <= (float)width);
    REQUIRE(found->box[1] >= 0 && found->box[1] < found->box[3] && found->box[3] <= (float)height);
    edk_placement placed;
    placed.image_width = take_range(input, 1, 4000);
    placed.image_height = take_range(input, 1, 4000);
    placed.new_width = take_range(input, 1, 400);
    placed.new_height = take_range(input, 1, 400);
    float box[4];
    if (edk_image_box(&placed, found->box, box) == EDK_OK) {
        REQUIRE(box[0] >= 0 && box[0] <= box[2] && box[2] <= (float)placed.image_width);
        REQUIRE(box[1] >= 0 && box[1] <= box[3] && box[3] <= (float)placed.image_height);
    }
}

/* No two of one class overlap by more than the threshold; in double, with room for float's rounding. */
static inline void check_pairs(float nms_iou, const edk_detection *found, int32_t count)
{
    for (int32_t i = 0; i < count; ++i) {
        for (int32_t k = 0; k < i; ++k) {
            const float *const a = found[i].box;
            const float *const b = found[k].box;
            const double width = (double)least(a[2], b[2]) - (double)most(a[0], b[0]);
            const double height = (double)least(a[3], b[3]) - (double)most(a[1], b[1]);
            if (found[i].label == found[k].label && width > 0 && height > 0) {
                const double areas = ((double)a[2] - (double)a[0]) * ((double)a[3] - (double)a[1]) +
                                     ((double)b[2] - (double)b[0]) * ((double)b[3] - (double)b[1]);
                const double shared = width * height;
                /* Areas below 1e-30 lose digits to float's smallest numbers. */
                REQUIRE(areas < 1e-30 || shared <= ((double)nms_iou + 1e-5) * (areas - shared) + 1e-6 * areas);
            }
        }
    }
}

#endif
