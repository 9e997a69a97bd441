/* Fuzz target of edk_detect and edk_image_box: any contract and tensors; buffers exactly as large as they must be. */
#include "fuzz_input.h"

#include "edk_detect.h"
#include "edk_placement.h"

#define MOST_LEVELS 4
#define MOST_BYTES (1 << 18) /* of one tensor */

static float least(float a, float b)
{
    return a < b ? a : b;
}

static float most(float a, float b)
{
    return a > b ? a : b;
}

static void check_box(const edk_detect_params *params, const edk_detection *found, fuzz_input *input)
{
    const float width = (float)(params->levels[0].width * params->levels[0].stride);
    const float height = (float)(params->levels[0].height * params->levels[0].stride);
    REQUIRE(found->label >= 0 && found->label < params->num_classes);
    REQUIRE(found->box[0] >= 0 && found->box[0] < found->box[2] && found->box[2] <= width);
    REQUIRE(found->box[1] >= 0 && found->box[1] < found->box[3] && found->box[3] <= height);
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
static void check_pairs(const edk_detect_params *params, const edk_detection *found, int32_t count)
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
                REQUIRE(areas < 1e-30 || shared <= ((double)params->nms_iou + 1e-5) * (areas - shared) + 1e-6 * areas);
            }
        }
    }
}

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
        for (int32_t i = 0; i < count[0]; ++i) {
            check_box(params, &found[0][i], input);
        }
        check_pairs(params, found[0], count[0]);
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
        run(&params, (const int8_t *const *)outputs, max_candidates, max_detections, &input);
        for (int32_t i = 0; i < 2 * params.num_levels; ++i) {
            free(outputs[i]);
        }
    }
    free(scores);
    return 0;
}
