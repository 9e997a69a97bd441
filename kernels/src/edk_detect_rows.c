#include "edk_detect_rows.h"

#include <string.h>

#include "edk_detect_candidate.h"
#include "edk_detect_float.h"
#include "edk_detect_rows_check.h"
#include "edk_detect_suppress.h"

/* What all steps know, and the heap of step 2. */
typedef struct rows_decoder {
    const edk_detect_rows_params *params;
    const int8_t *const *outputs;
    edk_detect_candidate *heap;
    int32_t budget;
    int32_t size;
} rows_decoder;

/* Numbers of one row. */
typedef struct row_values {
    const edk_detect_rows_level *level;
    const int8_t *cls; /* behind the background */
    float objectness;
    double sum; /* of the powers of all classes */
} row_values;

static const int8_t *values_at(const rows_decoder *decoder, const edk_detect_view *view, int32_t cell, int32_t anchor)
{
    return decoder->outputs[view->tensor] + view->offset + (ptrdiff_t)cell * view->cell_step +
           (ptrdiff_t)anchor * view->anchor_step;
}

static float value_of(const edk_detect_codes *codes, int32_t q)
{
    return codes->table != NULL ? codes->table[q + 128] : edk_rounded((float)(q - codes->zero_point) * codes->scale);
}

static int8_t class_code(const row_values *row, int32_t label)
{
    return row->cls[(ptrdiff_t)label * row->level->cls.channel_step];
}

/* Step 1: one class of a row. */
static float score_of(const edk_detect_rows_params *params, const row_values *row, int32_t label)
{
    const int32_t q = class_code(row, label);
    const float score = params->score_coding == EDK_SCORE_SOFTMAX ? (float)(row->level->cls_powers[q + 128] / row->sum)
                                                                  : value_of(&row->level->cls_codes, q);
    return params->objectness ? edk_rounded(score * row->objectness) : score;
}

/* The first class with the highest code. */
static int32_t highest_class(const edk_detect_rows_params *params, const row_values *row)
{
    int32_t best = 0;
    for (int32_t label = 1; label < params->num_classes; ++label) {
        if (class_code(row, label) > class_code(row, best)) {
            best = label;
        }
    }
    return best;
}

static void offer(rows_decoder *decoder, float score, uint32_t position)
{
    const edk_detect_rows_params *const params = decoder->params;
    if (score > params->score_threshold &&
        (params->class_thresholds == NULL ||
         score > params->class_thresholds[position % (uint32_t)params->num_classes])) {
        decoder->size =
            edk_detect_offer(decoder->heap, decoder->size, decoder->budget, edk_detect_order(score), position);
    }
}

/* `position`: of the row's first class. */
static void offer_row(rows_decoder *decoder, const row_values *row, uint32_t position)
{
    const edk_detect_rows_params *const params = decoder->params;
    if (params->score_coding == EDK_SCORE_OBJECTNESS) {
        offer(decoder, row->objectness, position + (uint32_t)highest_class(params, row));
        return;
    }
    float best = 0.0f; /* no candidate has less */
    uint32_t owner = 0;
    for (int32_t label = 0; label < params->num_classes; ++label) {
        if (class_code(row, label) < row->level->cls_threshold) {
            continue;
        }
        const float score = score_of(params, row, label);
        if (!params->agnostic) {
            offer(decoder, score, position + (uint32_t)label);
        } else if (score > best) {
            best = score;
            owner = (uint32_t)label;
        }
    }
    if (params->agnostic) {
        offer(decoder, best, position + owner);
    }
}

static double sum_of_powers(const double *powers, const int8_t *values, int32_t step, int32_t count)
{
    double sum = 0.0;
    for (int32_t i = 0; i < count; ++i) {
        sum += powers[values[(ptrdiff_t)i * step] + 128];
    }
    return sum;
}

/* Steps 1 and 2 of one cell. */
static void offer_cell(rows_decoder *decoder, const edk_detect_rows_level *level, int32_t cell, uint32_t position)
{
    const edk_detect_rows_params *const params = decoder->params;
    for (int32_t anchor = 0; anchor < level->anchors; ++anchor, position += (uint32_t)params->num_classes) {
        row_values row = {level, values_at(decoder, &level->cls, cell, anchor), 1.0f, 1.0};
        if (params->objectness) {
            const int8_t q = *values_at(decoder, &level->obj, cell, anchor);
            if (q < level->obj_threshold) {
                continue;
            }
            row.objectness = value_of(&level->obj_codes, q);
        }
        if (params->score_coding == EDK_SCORE_SOFTMAX) {
            row.sum = sum_of_powers(level->cls_powers, row.cls, level->cls.channel_step,
                                    params->num_classes + params->background);
        }
        if (params->background) {
            row.cls += level->cls.channel_step;
        }
        offer_row(decoder, &row, position);
    }
}

/* Steps 1 and 2: the best candidates, best first. */
static void collect(rows_decoder *decoder)
{
    const edk_detect_rows_params *const params = decoder->params;
    uint32_t position = 0;
    for (int32_t i = 0; i < params->num_levels; ++i) {
        const edk_detect_rows_level *const level = &params->levels[i];
        const int32_t cells = level->height * level->width;
        for (int32_t cell = 0; cell < cells; ++cell) {
            offer_cell(decoder, level, cell, position);
            position += (uint32_t)(level->anchors * params->num_classes);
        }
    }
    edk_detect_finish(decoder->heap, decoder->size, decoder->budget);
}

/* Mean of a softmax over bins. */
static float expected_bin(const double *powers, const int8_t *values, int32_t step, int32_t bins)
{
    double weighted = 0.0;
    for (int32_t i = 0; i < bins; ++i) {
        volatile double product = powers[values[(ptrdiff_t)i * step] + 128] * (double)i; /* see edk_rounded() */
        weighted += product;
    }
    return (float)(weighted / sum_of_powers(powers, values, step, bins));
}

/* Step 3, the numbers of a box. */
static void box_numbers(const edk_detect_rows_params *params, const edk_detect_rows_level *level, const int8_t *box,
                        float *numbers)
{
    const int32_t step = level->box.channel_step;
    for (int32_t i = 0; i < 4; ++i) {
        numbers[i] = params->bins > 0
                         ? expected_bin(level->bin_powers, box + (ptrdiff_t)i * params->bins * step, step, params->bins)
                         : value_of(&level->box_codes[i], box[(ptrdiff_t)i * step]);
    }
}

static void around(float centre, float side, float *low, float *high)
{
    const float half = edk_rounded(side / 2.0f);
    *low = centre - half;
    *high = centre + half;
}

/* Step 3, corners along one axis, 0: x, 1: y. */
static void corners(const edk_detect_rows_params *params, const edk_detect_rows_level *level, int32_t cell,
                    int32_t anchor, int axis, const float *numbers, float *box)
{
    const float stride = (float)level->stride;
    const float place = (float)(axis == 0 ? cell % level->width : cell / level->width);
    if (params->box_coding == EDK_BOX_DISTANCES) {
        const float prior = edk_rounded((place + params->offset) * stride);
        box[axis] = prior - edk_rounded(numbers[axis] * stride);
        box[axis + 2] = prior + edk_rounded(numbers[axis + 2] * stride);
    } else if (params->box_coding == EDK_BOX_CELLS) {
        const float unit = level->anchor_px != NULL ? level->anchor_px[2 * anchor + axis] : stride;
        around(edk_rounded((numbers[axis] + place) * stride), edk_rounded(numbers[axis + 2] * unit), &box[axis],
               &box[axis + 2]);
    } else if (params->box_coding == EDK_BOX_ANCHORS) {
        const float *const prior = level->anchor_px + 4 * ((size_t)cell * (size_t)level->anchors + (size_t)anchor);
        around(edk_rounded(numbers[1 - axis] * prior[axis + 2]) + prior[axis],
               edk_rounded(numbers[3 - axis] * prior[axis + 2]), &box[axis], &box[axis + 2]);
    } else if (params->box_coding == EDK_BOX_CENTRE) {
        around(numbers[axis], numbers[axis + 2], &box[axis], &box[axis + 2]);
    } else {
        box[axis] = numbers[axis];
        box[axis + 2] = numbers[axis + 2];
    }
}

static void clip(const edk_detect_rows_params *params, float *box)
{
    const float limit[2] = {(float)params->input_width, (float)params->input_height};
    for (int i = 0; i < 4; ++i) {
        box[i] = edk_clipped(box[i], limit[i % 2]);
    }
}

/* Step 3. Returns whether the box has an area. */
static int decode(const void *context, const edk_detect_candidate *candidate, edk_detection *detection)
{
    const rows_decoder *const decoder = context;
    const edk_detect_rows_params *const params = decoder->params;
    int32_t row = (int32_t)(candidate->position / (uint32_t)params->num_classes);
    detection->label = (int32_t)(candidate->position % (uint32_t)params->num_classes);
    memcpy(&detection->score, &candidate->key.order, sizeof(detection->score)); /* above 0: the order is its bits */
    const edk_detect_rows_level *level = params->levels;
    while (row >= level->height * level->width * level->anchors) {
        row -= level->height * level->width * level->anchors;
        ++level;
    }
    const int32_t cell = row / level->anchors;
    const int32_t anchor = row % level->anchors;
    float numbers[4];
    box_numbers(params, level, values_at(decoder, &level->box, cell, anchor), numbers);
    corners(params, level, cell, anchor, 0, numbers, detection->box);
    corners(params, level, cell, anchor, 1, numbers, detection->box);
    if (!params->agnostic) {
        clip(params, detection->box);
    }
    return detection->box[2] > detection->box[0] && detection->box[3] > detection->box[1];
}

edk_status edk_detect_rows(const edk_detect_rows_params *params, const int8_t *const *outputs, void *scratch,
                           size_t scratch_bytes, int32_t max_candidates, edk_detection *detections,
                           int32_t max_detections, int32_t *count)
{
    const size_t needed_bytes = edk_detect_scratch_bytes(max_candidates);
    if (params == NULL || outputs == NULL || scratch == NULL || detections == NULL || count == NULL ||
        params->levels == NULL || params->tensor_bytes == NULL) {
        return EDK_ERROR_NULL;
    }
    if (needed_bytes == 0 || max_detections < 1) {
        return EDK_ERROR_RANGE;
    }
    const edk_status status = edk_check_rows(params, outputs);
    if (status != EDK_OK) {
        return status;
    }
    if ((uintptr_t)scratch % sizeof(float) != 0) {
        return EDK_ERROR_ALIGNMENT;
    }
    if (scratch_bytes < needed_bytes) {
        return EDK_ERROR_SCRATCH;
    }
    rows_decoder decoder = {params, outputs, scratch, max_candidates, 0};
    collect(&decoder);
    *count = edk_detect_suppress(decoder.heap, decoder.size, params->nms_iou, params->agnostic, decode, &decoder,
                                 detections, max_detections);
    for (int32_t i = 0; params->agnostic && i < *count; ++i) {
        clip(params, detections[i].box);
    }
    return EDK_OK;
}
