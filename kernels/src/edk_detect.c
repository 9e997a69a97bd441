#include "edk_detect.h"

#include "edk_detect_candidate.h"

#define MAX_INPUT_SIDE 65535 /* exact in float, as are all priors */

/* A product that an addition follows goes through memory: a fused multiply-add would round once instead of twice. */
static inline float rounded(float product)
{
    volatile float stored = product;
    return stored;
}

static int is_scale(float scale)
{
    return scale > 0.0f && scale <= 3.402823466e+38f; /* false for NaN and infinity */
}

static edk_status check_level(const edk_detect_level *level)
{
    if (level->score_table == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!is_scale(level->cls_scale) || !is_scale(level->box_scale) || level->cls_zero_point < -128 || level->cls_zero_point > 127 || level->box_zero_point < -128 ||
        level->box_zero_point > 127 || level->q_threshold < -128 || level->q_threshold > 128) {
        return EDK_ERROR_RANGE;
    }
    if (level->height < 1 || level->width < 1 || level->stride < 1 || level->stride > MAX_INPUT_SIDE ||
        level->height > MAX_INPUT_SIDE || level->width > MAX_INPUT_SIDE) {
        return EDK_ERROR_SHAPE;
    }
    return EDK_OK;
}

/* The levels by themselves, and that their grids cover the same input. */
static edk_status check_levels(const edk_detect_params *params, const int8_t *const *outputs)
{
    const edk_detect_level *const first = params->levels;
    int64_t logits = 0;
    int64_t width = 0;
    int64_t height = 0;
    for (int32_t i = 0; i < params->num_levels; ++i) {
        const edk_detect_level *const level = &first[i];
        if (outputs[2 * i] == NULL || outputs[2 * i + 1] == NULL) {
            return EDK_ERROR_NULL;
        }
        const edk_status status = check_level(level);
        if (status != EDK_OK) {
            return status;
        }
        if (i == 0) {
            width = (int64_t)first->width * first->stride;
            height = (int64_t)first->height * first->stride;
        }
        const int64_t cells = (int64_t)level->height * level->width;
        if (width > MAX_INPUT_SIDE || height > MAX_INPUT_SIDE ||
            level->width != (width + level->stride - 1) / level->stride ||
            level->height != (height + level->stride - 1) / level->stride ||
            params->num_classes > (INT32_MAX - logits) / cells) {
            return EDK_ERROR_SHAPE;
        }
        logits += cells * params->num_classes;
    }
    return EDK_OK;
}

/* Steps 1 and 2: the best `budget` candidates, best first. */
static int32_t collect(const edk_detect_params *params, const int8_t *const *outputs, edk_detect_candidate *heap,
                       int32_t budget)
{
    int32_t size = 0;
    uint32_t base = 0;
    for (int32_t i = 0; i < params->num_levels; ++i) {
        const edk_detect_level *const level = &params->levels[i];
        const int8_t *const cls = outputs[2 * i];
        const int32_t threshold = level->q_threshold;
        const uint32_t logits = (uint32_t)(level->height * level->width) * (uint32_t)params->num_classes;
        for (uint32_t j = 0; j < logits; ++j) {
            if (cls[j] < threshold) {
                continue;
            }
            const float logit = (float)(cls[j] - level->cls_zero_point) * level->cls_scale;
            const edk_detect_candidate candidate = {{edk_detect_order(logit)}, base + j};
            if (size < budget) {
                heap[size++] = candidate;
                if (size == budget) {
                    edk_detect_make_heap(heap, size);
                }
            } else if (candidate.key.order > heap[0].key.order) { /* on a tie the earlier position stays */
                heap[0] = candidate;
                edk_detect_sift_down(heap, size, 0);
            }
        }
        base += logits;
    }
    if (size < budget) {
        edk_detect_make_heap(heap, size);
    }
    edk_detect_sort_heap(heap, size);
    return size;
}

static float clipped(float value, float limit)
{
    return value < 0.0f ? 0.0f : value > limit ? limit : value;
}

/* Step 3. Returns whether the box has an area. */
static int decode(const edk_detect_params *params, const int8_t *const *outputs, uint32_t position,
                  edk_detection *detection)
{
    const uint32_t classes = (uint32_t)params->num_classes;
    int32_t i = 0;
    uint32_t logits;
    while (position >= (logits = (uint32_t)(params->levels[i].height * params->levels[i].width) * classes)) {
        position -= logits;
        ++i;
    }
    const edk_detect_level *const level = &params->levels[i];
    const uint32_t cell = position / classes;
    const uint32_t row = cell / (uint32_t)level->width;
    const float stride = (float)level->stride;
    const float prior[2] = {(float)(cell - row * (uint32_t)level->width) * stride, (float)row * stride};
    const float limit[2] = {(float)(params->levels[0].width * params->levels[0].stride),
                            (float)(params->levels[0].height * params->levels[0].stride)};
    const int8_t *const distances = outputs[2 * i + 1] + 4 * (size_t)cell;
    for (int corner = 0; corner < 4; ++corner) {
        const float cells = (float)(distances[corner] - level->box_zero_point) * level->box_scale;
        const float length = rounded(cells * stride);
        const float from = prior[corner % 2];
        detection->box[corner] = clipped(corner < 2 ? from - length : from + length, limit[corner % 2]);
    }
    detection->score = level->score_table[outputs[2 * i][position] + 128];
    detection->label = (int32_t)(position - cell * classes);
    return detection->box[2] > detection->box[0] && detection->box[3] > detection->box[1];
}

static float area_of(const edk_detection *detection)
{
    return rounded((detection->box[2] - detection->box[0]) * (detection->box[3] - detection->box[1]));
}

/* Step 4, for one pair of boxes with areas. */
static int overlaps(const edk_detection *a, float area_a, const edk_detection *b, float area_b, float nms_iou)
{
    if (a->box[2] <= b->box[0] || b->box[2] <= a->box[0] || a->box[3] <= b->box[1] || b->box[3] <= a->box[1]) {
        return 0; /* most pairs end here */
    }
    const float width = (a->box[2] < b->box[2] ? a->box[2] : b->box[2]) -
                        (a->box[0] > b->box[0] ? a->box[0] : b->box[0]);
    const float height = (a->box[3] < b->box[3] ? a->box[3] : b->box[3]) -
                         (a->box[1] > b->box[1] ? a->box[1] : b->box[1]);
    const float shared = rounded(width * height);
    return shared > nms_iou * ((area_a + area_b) - shared);
}

/* Steps 3 to 5. The scratch of a candidate that was looked at is free: number k holds the area of detection k. */
static int32_t suppress(const edk_detect_params *params, const int8_t *const *outputs,
                        edk_detect_candidate *candidates, int32_t size, edk_detection *detections,
                        int32_t max_detections)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < size && kept < max_detections; ++i) {
        edk_detection *const found = &detections[kept];
        if (!decode(params, outputs, candidates[i].position, found)) {
            continue;
        }
        const float area = area_of(found);
        int32_t k = 0;
        while (k < kept && (detections[k].label != found->label ||
                            !overlaps(&detections[k], candidates[k].key.area, found, area, params->nms_iou))) {
            ++k;
        }
        if (k == kept) {
            candidates[kept++].key.area = area;
        }
    }
    return kept;
}

edk_status edk_detect(const edk_detect_params *params, const int8_t *const *outputs, void *scratch,
                      size_t scratch_bytes, int32_t max_candidates, edk_detection *detections,
                      int32_t max_detections, int32_t *count)
{
    const size_t needed_bytes = edk_detect_scratch_bytes(max_candidates);
    if (params == NULL || outputs == NULL || scratch == NULL || detections == NULL || count == NULL ||
        params->levels == NULL) {
        return EDK_ERROR_NULL;
    }
    if (params->num_levels < 1 || params->num_levels > EDK_MAX_LEVELS || params->num_classes < 1 ||
        !(params->nms_iou > 0.0f && params->nms_iou <= 1.0f) || needed_bytes == 0 || max_detections < 1) {
        return EDK_ERROR_RANGE;
    }
    const edk_status status = check_levels(params, outputs);
    if (status != EDK_OK) {
        return status;
    }
    if ((uintptr_t)scratch % sizeof(float) != 0) {
        return EDK_ERROR_ALIGNMENT;
    }
    if (scratch_bytes < needed_bytes) {
        return EDK_ERROR_SCRATCH;
    }
    edk_detect_candidate *const candidates = scratch;
    const int32_t size = collect(params, outputs, candidates, max_candidates);
    *count = suppress(params, outputs, candidates, size, detections, max_detections);
    return EDK_OK;
}
