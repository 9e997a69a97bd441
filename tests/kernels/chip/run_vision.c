/* Runs preprocessing and detection on recorded cases: reads cases.bin, writes results.bin. For a PC and for bare metal.
 *
 * The files are described in cases.h. A case starts with its function: 0 edk_preprocess, 1 edk_detect.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "edk_detect.h"
#include "edk_preprocess.h"

#if 3 * EDK_MAX_LEVELS > MAX_ARRAYS
#error "edk_detect takes more arrays than cases.h has room for"
#endif

static float take_float(void)
{
    const int32_t bits = take();
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void run_preprocess(FILE *results)
{
    edk_image image;
    edk_preprocess_params params;
    image.pixels = arrays[1];
    image.width = take();
    image.height = take();
    image.stride_bytes = take();
    image.format = (edk_pixel_format)take();
    params.input_width = take();
    params.input_height = take();
    params.resize = (edk_resize_mode)take();
    params.pad_value = (uint8_t)take();
    params.table = arrays[0];
    const size_t scratch_bytes = edk_preprocess_scratch_bytes(&params, image.width, image.height);
    const size_t bytes = 3 * (size_t)params.input_width * (size_t)params.input_height;
    void *const scratch = memory(scratch_bytes);
    int8_t *const output = memory(bytes);
    const uint32_t started = ticks_now();
    const edk_status status = edk_preprocess(&image, &params, scratch, scratch_bytes, output, NULL);
    write_result(results, status, ticks_since(started), output, bytes);
    free(scratch);
    free(output);
}

/* Output: the detections, their boxes in pixels of the image. */
static void run_detect(FILE *results)
{
    edk_detect_level levels[EDK_MAX_LEVELS];
    const int8_t *outputs[2 * EDK_MAX_LEVELS];
    edk_detect_params params;
    edk_placement placed;
    placed.image_width = take();
    placed.image_height = take();
    placed.new_width = take();
    placed.new_height = take();
    params.levels = levels;
    params.num_levels = take();
    params.num_classes = take();
    params.nms_iou = take_float();
    const int32_t max_candidates = take();
    const int32_t max_detections = take();
    for (int32_t i = 0; i < params.num_levels; i++) {
        levels[i].height = take();
        levels[i].width = take();
        levels[i].stride = take();
        levels[i].cls_scale = take_float();
        levels[i].box_scale = take_float();
        levels[i].cls_zero_point = take16();
        levels[i].box_zero_point = take16();
        levels[i].q_threshold = take16();
        outputs[2 * i] = arrays[3 * i];
        outputs[2 * i + 1] = arrays[3 * i + 1];
        levels[i].score_table = arrays[3 * i + 2];
        levels[i].class_thresholds = NULL;
    }
    const size_t scratch_bytes = edk_detect_scratch_bytes(max_candidates);
    void *const scratch = memory(scratch_bytes);
    edk_detection *const found = memory((size_t)max_detections * sizeof(edk_detection));
    int32_t count = 0;
    const uint32_t started = ticks_now();
    edk_status status = edk_detect(&params, outputs, scratch, scratch_bytes, max_candidates, found, max_detections,
                                   &count);
    const uint32_t ticks = ticks_since(started);
    for (int32_t i = 0; i < count && status == EDK_OK; i++) {
        status = edk_image_box(&placed, found[i].box, found[i].box);
    }
    write_result(results, status, ticks, found, (size_t)count * sizeof(edk_detection));
    free(scratch);
    free(found);
}

static void run_case(FILE *cases, FILE *results, int32_t function)
{
    read_arguments(cases);
    if (function == 0) {
        run_preprocess(results);
    } else {
        run_detect(results);
    }
    free_arrays();
}

int main(void)
{
    return run_all_cases(run_case);
}
