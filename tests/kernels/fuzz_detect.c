/* Fuzz target of edk_detect and edk_image_box: any contract and tensors; buffers exactly as large as they must be. */
#include "fuzz_detections.h"
#include "fuzz_input.h"

#include "edk_detect.h"

#define MOST_LEVELS 4
#define MOST_BYTES (1 << 18) /* of one tensor */

/* Twice with other rubbish in the scratch: what it held must not matter. */
static void run(const edk_detect_params *params, const int8_t *const *outputs, int32_t max_candidates,
                int32_t max_detections, fuzz_input *input)
{
    const size_t scratch_bytes = edk_detect_scratch_bytes(max_candidates);
    const size_t places = max_detections > 0 ? (size_t)max_detections : 1;
    edk_detection *found[2];
    int32_t count[2] = {-1, -1};
    edk_status status[2];
    for (int i = 0; i < 2; ++i) {
        void *const scratch = malloc(scratch_bytes > 0 ? scratch_bytes : 1);
        found[i] = calloc(places, sizeof(edk_detection));
        REQUIRE(scratch != NULL && found[i] != NULL);
        memset(scratch, i == 0 ? 0x00 : 0xFF, scratch_bytes > 0 ? scratch_bytes : 1);
        status[i] = edk_detect(params, outputs, scratch, scratch_bytes, max_candidates, found[i], max_detections,
                               &count[i]);
        free(scratch);
    }
    REQUIRE(status[0] == status[1] && count[0] == count[1]);
    if (status[0] == EDK_OK) {
        REQUIRE(count[0] >= 0 && count[0] <= max_detections && count[0] <= max_candidates);
        REQUIRE(count[0] == 0 || memcmp(found[0], found[1], (size_t)count[0] * sizeof(edk_detection)) == 0);
        const edk_detect_level *const first = &params->levels[0];
        for (int32_t i = 0; i < count[0]; ++i) {
            REQUIRE(found[0][i].label >= 0 && found[0][i].label < params->num_classes);
            check_box(first->width * first->stride, first->height * first->stride, &found[0][i], input);
        }
        check_pairs(params->nms_iou, found[0], count[0]);
    }
    free(found[0]);
    free(found[1]);
}

/* Mostly a scale as networks have it, else any bits, NaN and infinity included. */
static float take_scale(fuzz_input *input)
{
    return take_byte(input) < 8 ? take_float(input) : 0.001f * (float)(1 + take_byte(input));
}

static void take_level(fuzz_input *input, edk_detect_level *level)
{
    const int32_t zero_points[2] = {take_range(input, -128, 127), take_range(input, -128, 127)};
    level->cls_scale = take_scale(input);
    level->box_scale = take_scale(input);
    level->cls_zero_point = (int16_t)(zero_points[0] % 1024);
    level->box_zero_point = (int16_t)(zero_points[1] % 1024);
    level->q_threshold = (int16_t)(take_range(input, -128, 128) % 1024);
    level->class_thresholds = NULL;
}

static size_t tensor_bytes(const edk_detect_level *level, int32_t depth)
{
    if (level->height < 1 || level->width < 1 || depth < 1 || level->height > MOST_BYTES ||
        level->width > MOST_BYTES) {
        return 0;
    }
    const int64_t bytes = (int64_t)level->height * level->width;
    return bytes > MOST_BYTES || bytes * depth > MOST_BYTES ? (size_t)MOST_BYTES + 1 : (size_t)(bytes * depth);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    edk_detect_level levels[MOST_LEVELS];
    int8_t *outputs[2 * MOST_LEVELS];
    edk_detect_params params = {levels, 1 + take_byte(&input) % MOST_LEVELS, take_range(&input, 1, 5), 0.0f};
    const int32_t stride = 1 + take_byte(&input) % 8;
    const int32_t width = stride * (1 + take_byte(&input) % 16);
    const int32_t height = stride * (1 + take_byte(&input) % 16);
    float *const scores = take_bytes(&input, 256 * sizeof(float));
    int fits = 1;
    params.nms_iou = take_byte(&input) < 8 ? take_float(&input) : (float)(1 + take_byte(&input)) / 256.0f;
    for (int32_t i = 0; i < params.num_levels; ++i) {
        edk_detect_level *const level = &levels[i];
        take_level(&input, level);
        level->score_table = scores;
        level->stride = i == 0 ? stride : take_range(&input, 1, 64);
        const int64_t step = level->stride < 1 ? 1 : level->stride;
        level->width = (int32_t)((width + step - 1) / step);
        level->height = (int32_t)((height + step - 1) / step);
        if (take_byte(&input) == 255) {
            level->width = take_range(&input, 0, 40);
            level->height = take_range(&input, 0, 40);
        }
        fits = fits && tensor_bytes(level, params.num_classes) <= MOST_BYTES && tensor_bytes(level, 4) <= MOST_BYTES;
    }
    const int32_t max_candidates = take_range(&input, 1, 300);
    const int32_t max_detections = take_range(&input, 1, 120);
    if (fits && max_candidates < MOST_BYTES && max_detections < MOST_BYTES) {
        for (int32_t i = 0; i < params.num_levels; ++i) {
            outputs[2 * i] = take_bytes(&input, tensor_bytes(&levels[i], params.num_classes));
            outputs[2 * i + 1] = take_bytes(&input, tensor_bytes(&levels[i], 4));
        }
        const int countable = params.num_classes > 0 && params.num_classes < MOST_BYTES;
        int16_t *const classes = take_bytes(&input, countable ? (size_t)params.num_classes * sizeof(int16_t) : 0);
        if (countable && take_byte(&input) % 2 == 1) {
            levels[0].class_thresholds = classes;
        }
        run(&params, (const int8_t *const *)outputs, max_candidates, max_detections, &input);
        free(classes);
        for (int32_t i = 0; i < 2 * params.num_levels; ++i) {
            free(outputs[i]);
        }
    }
    free(scores);
    return 0;
}
