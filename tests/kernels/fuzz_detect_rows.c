/* Fuzz target of edk_detect_rows: any contract and tensors; buffers exactly as large as they must be. */
#include "fuzz_detections.h"
#include "fuzz_input.h"

#include "edk_detect_rows.h"

#define MOST_LEVELS 3
#define MOST_TENSORS 4
#define MOST_BYTES 4096 /* of one tensor */
#define TABLES 3

typedef struct tables {
    float *values[TABLES]; /* [256] */
    double *powers;        /* [256], above 0 */
    float *anchors;
    int32_t anchor_count; /* floats */
} tables;

static float take_number(fuzz_input *input)
{
    return take_byte(input) < 8 ? take_float(input) : (float)take_range(input, -300, 300) / 64.0f;
}

static void take_tables(fuzz_input *input, tables *made)
{
    for (int i = 0; i < TABLES; ++i) {
        made->values[i] = malloc(256 * sizeof(float));
        REQUIRE(made->values[i] != NULL);
        const float step = take_number(input);
        for (int q = 0; q < 256; ++q) {
            made->values[i][q] = i == 0 ? (float)q / 255.0f : step * (float)(q - 128); /* the first: scores */
        }
    }
    made->powers = malloc(256 * sizeof(double));
    REQUIRE(made->powers != NULL);
    double power = 1e-100 * (1.0 + take_byte(input));
    const double growth = 1.0 + (double)take_byte(input) / 64.0;
    for (int q = 0; q < 256; ++q, power *= growth) {
        made->powers[q] = power;
    }
    made->anchor_count = 4 * (1 + take_byte(input));
    made->anchors = malloc((size_t)made->anchor_count * sizeof(float));
    REQUIRE(made->anchors != NULL);
    for (int32_t i = 0; i < made->anchor_count; ++i) {
        made->anchors[i] = take_number(input);
    }
}

static void take_view(fuzz_input *input, edk_detect_view *view)
{
    view->tensor = take_range(input, 0, MOST_TENSORS - 1);
    view->offset = take_range(input, 0, 40);
    view->cell_step = take_range(input, 0, 24);
    view->anchor_step = take_range(input, 0, 8);
    view->channel_step = take_range(input, 0, 3);
}

static void take_codes(fuzz_input *input, const tables *made, edk_detect_codes *codes)
{
    const int choice = take_byte(input) % (TABLES + 1);
    codes->table = choice < TABLES ? made->values[choice] : NULL;
    codes->scale = take_byte(input) < 8 ? take_float(input) : 0.001f * (float)(1 + take_byte(input));
    codes->zero_point = (int16_t)(take_range(input, -128, 127) % 1024);
}

static void take_level(fuzz_input *input, const tables *made, edk_detect_rows_level *level)
{
    level->height = take_range(input, 1, 12);
    level->width = take_range(input, 1, 12);
    level->stride = take_range(input, 1, 64);
    level->anchors = take_range(input, 1, 4);
    take_view(input, &level->cls);
    take_view(input, &level->box);
    take_view(input, &level->obj);
    take_codes(input, made, &level->cls_codes);
    take_codes(input, made, &level->obj_codes);
    for (int i = 0; i < 4; ++i) {
        take_codes(input, made, &level->box_codes[i]);
    }
    const int without = take_byte(input);
    level->cls_powers = without < 8 ? NULL : made->powers;
    level->bin_powers = without < 8 ? NULL : made->powers;
    level->anchor_px = without < 32 ? NULL : made->anchors;
    level->cls_threshold = (int16_t)(take_range(input, -128, 128) % 1024);
    level->obj_threshold = (int16_t)(take_range(input, -128, 128) % 1024);
}

/* The kernel can't know how many anchors it was given: one for each row, or for each of a cell. And when all steps are 0,
 * any number of rows lies inside the tensors. */
static int is_bounded(const edk_detect_rows_params *params, const tables *made)
{
    for (int32_t i = 0; i < params->num_levels; ++i) {
        const edk_detect_rows_level *const level = &params->levels[i];
        const double rows = (double)level->height * (double)level->width * (double)level->anchors;
        const double numbers = params->box_coding == EDK_BOX_ANCHORS ? 4.0 * rows : 2.0 * (double)level->anchors;
        if (rows * (double)params->num_classes > 1e6 || (level->anchor_px != NULL && numbers > made->anchor_count)) {
            return 0;
        }
    }
    return 1;
}

/* Twice with other rubbish in the scratch: what it held must not matter. */
static void run(const edk_detect_rows_params *params, const int8_t *const *outputs, int32_t max_candidates,
                int32_t max_detections, fuzz_input *input)
{
    const size_t bytes = edk_detect_scratch_bytes(max_candidates);
    edk_detection *found[2];
    int32_t count[2] = {-1, -1};
    edk_status status[2];
    for (int i = 0; i < 2; ++i) {
        void *const scratch = malloc(bytes > 0 ? bytes : 1);
        found[i] = calloc(max_detections > 0 ? (size_t)max_detections : 1, sizeof(edk_detection));
        REQUIRE(scratch != NULL && found[i] != NULL);
        memset(scratch, i == 0 ? 0x00 : 0xFF, bytes > 0 ? bytes : 1);
        status[i] = edk_detect_rows(params, outputs, scratch, bytes, max_candidates, found[i], max_detections, &count[i]);
        free(scratch);
    }
    REQUIRE(status[0] == status[1] && count[0] == count[1] && (count[0] >= 0) == (status[0] == EDK_OK));
    if (status[0] == EDK_OK) {
        REQUIRE(count[0] <= max_detections && count[0] <= max_candidates);
        REQUIRE(count[0] == 0 || memcmp(found[0], found[1], (size_t)count[0] * sizeof(edk_detection)) == 0);
        for (int32_t i = 0; i < count[0]; ++i) {
            REQUIRE(found[0][i].label >= 0 && found[0][i].label < params->num_classes);
            REQUIRE(found[0][i].score > params->score_threshold);
            REQUIRE(i == 0 || found[0][i].score <= found[0][i - 1].score);
            if (!params->agnostic) { /* those are clipped behind the suppression */
                check_box(params->input_width, params->input_height, &found[0][i], input);
            }
        }
        if (!params->agnostic) {
            check_pairs(params->nms_iou, found[0], count[0]);
        }
    }
    free(found[0]);
    free(found[1]);
}

static void take_params(fuzz_input *input, edk_detect_rows_params *params)
{
    params->input_width = take_range(input, 1, 200);
    params->input_height = take_range(input, 1, 200);
    params->num_levels = 1 + take_byte(input) % MOST_LEVELS;
    params->num_tensors = 1 + take_byte(input) % MOST_TENSORS;
    params->num_classes = take_range(input, 1, 5);
    params->box_coding = (int16_t)(take_byte(input) % 6);
    params->bins = params->box_coding == EDK_BOX_DISTANCES && take_byte(input) < 128 ? take_range(input, 2, 9) : 0;
    params->score_coding = (int16_t)(take_byte(input) % 4);
    params->background = (int16_t)(take_byte(input) % 2);
    params->objectness = (int16_t)(take_byte(input) % 2);
    params->agnostic = (int16_t)(take_byte(input) % 2);
    params->offset = take_number(input);
    params->score_threshold = take_byte(input) < 8 ? take_float(input) : (float)take_byte(input) / 256.0f;
    params->nms_iou = take_byte(input) < 8 ? take_float(input) : (float)(1 + take_byte(input)) / 256.0f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    edk_detect_rows_level levels[MOST_LEVELS];
    int8_t *outputs[MOST_TENSORS];
    int32_t tensor_bytes[MOST_TENSORS];
    edk_detect_rows_params params = {0};
    tables made;
    params.levels = levels;
    params.tensor_bytes = tensor_bytes;
    take_params(&input, &params);
    take_tables(&input, &made);
    for (int32_t i = 0; i < params.num_levels; ++i) {
        take_level(&input, &made, &levels[i]);
    }
    for (int32_t i = 0; i < params.num_tensors; ++i) {
        tensor_bytes[i] = 1 + (take_byte(&input) << 4 | take_byte(&input)) % MOST_BYTES;
        outputs[i] = take_bytes(&input, (size_t)tensor_bytes[i]);
    }
    const int32_t max_candidates = take_range(&input, 1, 300);
    const int32_t max_detections = take_range(&input, 1, 120);
    if (is_bounded(&params, &made) && max_candidates < MOST_BYTES && max_detections < MOST_BYTES) {
        const int countable = params.num_classes > 0 && params.num_classes < MOST_BYTES;
        float *const classes = take_bytes(&input, countable ? (size_t)params.num_classes * sizeof(float) : 0);
        if (countable && take_byte(&input) % 2 == 1) {
            params.class_thresholds = classes;
        }
        run(&params, (const int8_t *const *)outputs, max_candidates, max_detections, &input);
        free(classes);
    }
    for (int32_t i = 0; i < params.num_tensors; ++i) {
        free(outputs[i]);
    }
    for (int i = 0; i < TABLES; ++i) {
        free(made.values[i]);
    }
    free(made.powers);
    free(made.anchors);
    return 0;
}
