#include "edk_detect.h"

#include "edk_detect_candidate.h"
#include "edk_detect_float.h"
#include "edk_detect_suppress.h"

static edk_status check_level(const edk_detect_level *level)
{
    if (level->score_table == NULL) {
        return EDK_ERROR_NULL;
    }
    if (!edk_is_scale(level->cls_scale) || !edk_is_scale(level->box_scale) || level->cls_zero_point < -128 ||
        level->cls_zero_point > 127 || level->box_zero_point < -128 || level->box_zero_point > 127 ||
        level->q_threshold < -128 || level->q_threshold > 128) {
        return EDK_ERROR_RANGE;
    }
    if (level->height < 1 || level->width < 1 || level->stride < 1 || level->stride > EDK_MAX_INPUT_SIDE ||
        level->height > EDK_MAX_INPUT_SIDE || level->width > EDK_MAX_INPUT_SIDE) {
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
        if (outputs[2 * (size_t)i] == NULL || outputs[2 * (size_t)i + 1] == NULL) {
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
        if (width > EDK_MAX_INPUT_SIDE || height > EDK_MAX_INPUT_SIDE ||
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
        const int8_t *const cls = outputs[2 * (size_t)i];
        const int32_t threshold = level->q_threshold;
        const uint32_t logits = (uint32_t)(level->height * level->width) * (uint32_t)params->num_classes;
        for (uint32_t j = 0; j < logits; ++j) {
            if (cls[j] < threshold || (level->class_thresholds != NULL &&
                                       cls[j] < level->class_thresholds[j % (uint32_t)params->num_classes])) {
                continue;
            }
            const float logit = (float)(cls[j] - level->cls_zero_point) * level->cls_scale;
            size = edk_detect_offer(heap, size, budget, edk_detect_order(logit), base + j);
        }
        base += logits;
    }
    edk_detect_finish(heap, size, budget);
    return size;
}

typedef struct tensors {
    const edk_detect_params *params;
    const int8_t *const *outputs;
} tensors;

/* Step 3. Returns whether the box has an area. */
static int decode(const void *decoder, const edk_detect_candidate *candidate, edk_detection *detection)
{
    const edk_detect_params *const params = ((const tensors *)decoder)->params;
    const int8_t *const *const outputs = ((const tensors *)decoder)->outputs;
    uint32_t position = candidate->position;
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
    const int8_t *const distances = outputs[2 * (size_t)i + 1] + 4 * (size_t)cell;
    for (int corner = 0; corner < 4; ++corner) {
        const float cells = (float)(distances[corner] - level->box_zero_point) * level->box_scale;
        const float length = edk_rounded(cells * stride);
        const float from = prior[corner % 2];
        detection->box[corner] = edk_clipped(corner < 2 ? from - length : from + length, limit[corner % 2]);
    }
    detection->score = level->score_table[outputs[2 * (size_t)i][position] + 128];
    detection->label = (int32_t)(position - cell * classes);
    return detection->box[2] > detection->box[0] && detection->box[3] > detection->box[1];
}

edk_status edk_detect(const edk_detect_params *params, const int8_t *const *outputs, void *scratch,
                      size_t scratch_bytes, int32_t max_candidates, edk_detection *detections, int32_t max_detections,
                      int32_t *count)
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
    const tensors decoder = {params, outputs}; /* steps 4 and 5 */
    *count = edk_detect_suppress(candidates, size, params->nms_iou, 0, decode, &decoder, detections, max_detections);
    return EDK_OK;
}
