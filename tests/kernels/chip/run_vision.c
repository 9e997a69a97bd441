/* Runs preprocessing and detection on recorded cases: reads cases.bin, writes results.bin. For a PC and for bare metal.
 *
 * cases.bin, int32 words: per case its function (0 edk_preprocess, 1 edk_detect), the number of integers, the integers,
 * the number of arrays, and each array as bytes and data (filled up to whole words).
 * results.bin, int32 words: per case the status, the ticks taken, the bytes of output and the output (filled up).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edk_detect.h"
#include "edk_preprocess.h"
#include "ticks.h"

#define MAX_INTEGERS 160
#define MAX_ARRAYS (3 * EDK_MAX_LEVELS)

static int32_t integers[MAX_INTEGERS];
static int32_t next_integer;
static void *arrays[MAX_ARRAYS];

static int32_t take(void)
{
    return integers[next_integer++];
}

static float take_float(void)
{
    const int32_t bits = take();
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void *memory(size_t bytes)
{
    void *const block = malloc(bytes == 0 ? 1 : bytes);
    if (block == NULL) {
        fprintf(stderr, "no memory for %u bytes\n", (unsigned)bytes);
        exit(1);
    }
    memset(block, 0x5A, bytes);
    return block;
}

static void write_result(FILE *results, edk_status status, uint32_t ticks, const void *output, size_t bytes)
{
    const int32_t head[3] = {(int32_t)status, (int32_t)ticks, (int32_t)bytes};
    const char zeros[4] = {0};
    fwrite(head, 4, 3, results);
    fwrite(output, 1, bytes, results);
    fwrite(zeros, 1, (4 - bytes % 4) % 4, results);
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
        levels[i].cls_zero_point = (int16_t)take();
        levels[i].box_zero_point = (int16_t)take();
        levels[i].q_threshold = (int16_t)take();
        outputs[2 * i] = arrays[3 * i];
        outputs[2 * i + 1] = arrays[3 * i + 1];
        levels[i].score_table = arrays[3 * i + 2];
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

static void read_words(FILE *file, void *to, size_t words)
{
    if (fread(to, 4, words, file) != words) {
        fprintf(stderr, "cases.bin ends too early\n");
        exit(1);
    }
}

static int32_t read_word(FILE *file)
{
    int32_t word;
    read_words(file, &word, 1);
    return word;
}

static void run_case(FILE *cases, FILE *results, int32_t function)
{
    next_integer = 0;
    read_words(cases, integers, (size_t)read_word(cases));
    const int32_t array_count = read_word(cases);
    for (int32_t i = 0; i < array_count; i++) {
        const size_t bytes = (size_t)read_word(cases);
        arrays[i] = memory((bytes + 3) / 4 * 4);
        read_words(cases, arrays[i], (bytes + 3) / 4);
    }
    if (function == 0) {
        run_preprocess(results);
    } else {
        run_detect(results);
    }
    for (int32_t i = 0; i < array_count; i++) {
        free(arrays[i]);
    }
}

int main(void)
{
    FILE *cases = fopen("cases.bin", "rb"), *results = fopen("results.bin", "wb");
    if (cases == NULL || results == NULL) {
        fprintf(stderr, "cases.bin or results.bin can't be opened\n");
        return 1;
    }
    ticks_start();
    int32_t function;
    while (fread(&function, 4, 1, cases) == 1) {
        run_case(cases, results, function);
    }
    fclose(cases);
    return fclose(results) == 0 ? 0 : 1;
}
