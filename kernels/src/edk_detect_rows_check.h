/* Whether the parameters of edk_detect_rows() are what its header says. */
#ifndef EDK_DETECT_ROWS_CHECK_H
#define EDK_DETECT_ROWS_CHECK_H

#include "edk_detect_float.h"
#include "edk_detect_rows.h"

#define EDK_MAX_BINS 1024

static inline int edk_codes_are_good(const edk_detect_codes *codes)
{
    return edk_is_scale(codes->scale) && codes->zero_point >= -128 && codes->zero_point <= 127;
}

static inline int edk_view_fits(const edk_detect_rows_params *params, const edk_detect_view *view, int64_t cells,
                                int32_t anchors, int64_t channels)
{
    if (view->tensor < 0 || view->tensor >= params->num_tensors || view->offset < 0 || view->cell_step < 0 ||
        view->anchor_step < 0 || view->channel_step < 0) {
        return 0;
    }
    const int64_t reaches[3] = {(cells - 1) * view->cell_step, (int64_t)(anchors - 1) * view->anchor_step,
                                (channels - 1) * view->channel_step}; /* each below 2^62 */
    int64_t last = view->offset;
    for (int i = 0; i < 3; ++i) {
        if (reaches[i] > INT32_MAX) {
            return 0;
        }
        last += reaches[i];
    }
    return last < params->tensor_bytes[view->tensor];
}

static inline edk_status edk_check_level_numbers(const edk_detect_rows_params *params,
                                                 const edk_detect_rows_level *level)
{
    int good = edk_codes_are_good(&level->cls_codes) && level->cls_threshold >= -128 && level->cls_threshold <= 128;
    for (int i = 0; i < 4; ++i) {
        good = good && edk_codes_are_good(&level->box_codes[i]);
    }
    if (params->objectness) {
        good = good && edk_codes_are_good(&level->obj_codes) && level->obj_threshold >= -128 &&
               level->obj_threshold <= 128;
    }
    if (!good) {
        return EDK_ERROR_RANGE;
    }
    const int lacks = (params->score_coding == EDK_SCORE_SOFTMAX && level->cls_powers == NULL) ||
                      (params->bins > 0 && level->bin_powers == NULL) ||
                      (params->box_coding == EDK_BOX_ANCHORS && level->anchor_px == NULL);
    return lacks ? EDK_ERROR_NULL : EDK_OK;
}

/* rows: of the levels in front of this one; the sum is put there. */
static inline edk_status edk_check_level(const edk_detect_rows_params *params, const edk_detect_rows_level *level,
                                         int64_t *rows)
{
    const edk_status status = edk_check_level_numbers(params, level);
    if (status != EDK_OK) {
        return status;
    }
    if (level->height < 1 || level->width < 1 || level->anchors < 1 || level->stride < 1 ||
        level->stride > EDK_MAX_INPUT_SIDE || level->height > INT32_MAX / level->width) {
        return EDK_ERROR_SHAPE;
    }
    const int64_t cells = (int64_t)level->height * level->width;
    const int64_t channels = (int64_t)params->num_classes + params->background;
    *rows += cells * level->anchors;
    if (*rows > INT32_MAX / channels || !edk_view_fits(params, &level->cls, cells, level->anchors, channels) ||
        !edk_view_fits(params, &level->box, cells, level->anchors, params->bins > 0 ? 4 * params->bins : 4) ||
        (params->objectness && !edk_view_fits(params, &level->obj, cells, level->anchors, 1))) {
        return EDK_ERROR_SHAPE;
    }
    return EDK_OK;
}

static inline int edk_is_flag(int32_t value)
{
    return value == 0 || value == 1;
}

static inline edk_status edk_check_rows(const edk_detect_rows_params *params, const int8_t *const *outputs)
{
    if (params->num_levels < 1 || params->num_levels > EDK_MAX_LEVELS || params->num_tensors < 1 ||
        params->num_tensors > EDK_MAX_ROW_TENSORS || params->num_classes < 1 || params->num_classes == INT32_MAX ||
        params->input_width < 1 || params->input_width > EDK_MAX_INPUT_SIDE || params->input_height < 1 ||
        params->input_height > EDK_MAX_INPUT_SIDE || !edk_is_flag(params->background) ||
        !edk_is_flag(params->objectness) || !edk_is_flag(params->agnostic)) {
        return EDK_ERROR_RANGE;
    }
    if (params->box_coding < EDK_BOX_DISTANCES || params->box_coding > EDK_BOX_CORNERS ||
        params->score_coding < EDK_SCORE_CODES || params->score_coding > EDK_SCORE_OBJECTNESS ||
        (params->score_coding == EDK_SCORE_OBJECTNESS && (!params->objectness || params->background)) ||
        (params->bins != 0 &&
         (params->bins < 2 || params->bins > EDK_MAX_BINS || params->box_coding != EDK_BOX_DISTANCES))) {
        return EDK_ERROR_RANGE;
    }
    if (!(params->offset >= -3.402823466e+38f && params->offset <= 3.402823466e+38f) ||
        !(params->score_threshold >= 0.0f && params->score_threshold < 1.0f) ||
        !(params->nms_iou > 0.0f && params->nms_iou <= 1.0f)) {
        return EDK_ERROR_RANGE;
    }
    for (int32_t i = 0; i < params->num_tensors; ++i) {
        if (outputs[i] == NULL) {
            return EDK_ERROR_NULL;
        }
    }
    int64_t rows = 0;
    for (int32_t i = 0; i < params->num_levels; ++i) {
        const edk_status status = edk_check_level(params, &params->levels[i], &rows);
        if (status != EDK_OK) {
            return status;
        }
    }
    return EDK_OK;
}

#endif
