#include "edk_detect_cells.h"

#include "edk_detect_float.h"

#define NO_OBJECT (-1)

/* A product that a subtraction follows goes through memory: a fused multiply-add would round once instead of twice. */
static inline double rounded(double product)
{
    volatile double stored = product;
    return stored;
}

static edk_status check_params(const edk_detect_cells_params *params)
{
    if (!edk_is_scale(params->scale) || params->zero_point < -128 || params->zero_point > 127 ||
        params->q_threshold <= params->zero_point || params->q_threshold > 128 || params->num_classes < 1 ||
        params->background < 0 || params->background > 1) {
        return EDK_ERROR_RANGE;
    }
    if (params->stride < 1 || params->stride > EDK_MAX_INPUT_SIDE ||
        edk_detect_cells_scratch_bytes(params->height, params->width) == 0 ||
        (int64_t)params->height * params->stride > EDK_MAX_INPUT_SIDE ||
        (int64_t)params->width * params->stride > EDK_MAX_INPUT_SIDE ||
        params->num_classes >= INT32_MAX / (params->height * params->width)) {
        return EDK_ERROR_SHAPE;
    }
    return EDK_OK;
}

static const int8_t *values_of(const edk_detect_cells_params *params, const int8_t *map, int32_t cell)
{
    return map + (size_t)cell * (size_t)(params->num_classes + params->background);
}

/* Step 1: the class that owns a cell, or NO_OBJECT. */
static int32_t class_of(const edk_detect_cells_params *params, const int8_t *map, int32_t cell)
{
    const int8_t *const values = values_of(params, map, cell);
    const int32_t channels = params->num_classes + params->background;
    int32_t best = 0;
    for (int32_t channel = 1; channel < channels; ++channel) {
        if (values[channel] > values[best]) {
            best = channel;
        }
    }
    const int32_t label = best - params->background;
    if (values[best] < params->q_threshold || label < 0 ||
        (params->class_thresholds != NULL && values[best] < params->class_thresholds[label])) {
        return NO_OBJECT;
    }
    return label;
}

/* First cell of the object; shortens the way there. */
static int32_t root_of(int32_t *links, int32_t cell)
{
    while (links[cell] != cell) {
        links[cell] = links[links[cell]];
        cell = links[cell];
    }
    return cell;
}

/* Joins the object of a cell with that of an earlier cell, when both are of one class. */
static void join(const edk_detect_cells_params *params, const int8_t *map, int32_t *links, int32_t cell,
                 int32_t earlier)
{
    if (links[earlier] == NO_OBJECT || class_of(params, map, earlier) != class_of(params, map, cell)) {
        return;
    }
    const int32_t a = root_of(links, earlier);
    const int32_t b = root_of(links, cell);
    links[a > b ? a : b] = a > b ? b : a; /* the root is the first cell */
}

/* Step 2. links[cell] becomes the first cell of its object, or NO_OBJECT. */
static void find_objects(const edk_detect_cells_params *params, const int8_t *map, int32_t *links)
{
    const int32_t width = params->width;
    const int32_t cells = params->height * width;
    for (int32_t cell = 0, column = 0; cell < cells; ++cell, column = column + 1 == width ? 0 : column + 1) {
        if (class_of(params, map, cell) == NO_OBJECT) {
            links[cell] = NO_OBJECT;
            continue;
        }
        links[cell] = cell;
        if (column > 0) {
            join(params, map, links, cell, cell - 1);
        }
        if (cell >= width) {
            if (column > 0) {
                join(params, map, links, cell, cell - width - 1);
            }
            join(params, map, links, cell, cell - width);
            if (column + 1 < width) {
                join(params, map, links, cell, cell - width + 1);
            }
        }
    }
    for (int32_t cell = 0; cell < cells; ++cell) {
        if (links[cell] != NO_OBJECT) {
            links[cell] = links[links[cell]]; /* what a cell is linked to stands in front of it, and is done */
        }
    }
}

/* Step 3. links[cell] is the object's next cell in row-major order, and `first` behind the last one. */
static edk_detection describe(const edk_detect_cells_params *params, const int8_t *map, const int32_t *links,
                              int32_t first)
{
    const int32_t label = class_of(params, map, first);
    double sum = 0.0;
    double weighted[2] = {0.0, 0.0};
    edk_detection found = {{0.0f, 0.0f, 0.0f, 0.0f}, 0.0f, label};
    int32_t cell = first;
    do {
        const int32_t row = cell / params->width;
        const int32_t q = values_of(params, map, cell)[label + params->background];
        const float score = (float)(q - params->zero_point) * params->scale;
        sum += (double)score;
        /* 24 bits times 17: exact. */
        weighted[0] += (double)score * ((double)(cell - row * params->width) + 0.5);
        weighted[1] += (double)score * ((double)row + 0.5);
        if (score > found.score) {
            found.score = score;
        }
        cell = links[cell];
    } while (cell != first);
    const double half = (double)params->stride / 2.0;
    const float limit[2] = {(float)(params->width * params->stride), (float)(params->height * params->stride)};
    for (int axis = 0; axis < 2; ++axis) {
        const double centre = rounded(weighted[axis] / sum * (double)params->stride);
        found.box[axis] = edk_clipped((float)(centre - half), limit[axis]);
        found.box[axis + 2] = edk_clipped((float)(centre + half), limit[axis]);
    }
    return found;
}

/* Step 4, for an object whose first cell stands in front of those of all others so far. */
static int32_t insert(edk_detection *detections, int32_t count, int32_t max_detections, const edk_detection *found)
{
    int32_t place = count;
    while (place > 0 && detections[place - 1].score <= found->score) {
        --place;
    }
    if (place == max_detections) {
        return count;
    }
    const int32_t last = count < max_detections ? count : max_detections - 1;
    for (int32_t i = last; i > place; --i) {
        detections[i] = detections[i - 1];
    }
    detections[place] = *found;
    return last + 1;
}

edk_status edk_detect_cells(const edk_detect_cells_params *params, const int8_t *map, void *scratch,
                            size_t scratch_bytes, edk_detection *detections, int32_t max_detections, int32_t *count)
{
    if (params == NULL || map == NULL || scratch == NULL || detections == NULL || count == NULL) {
        return EDK_ERROR_NULL;
    }
    const edk_status status = check_params(params);
    if (status != EDK_OK) {
        return status;
    }
    if (max_detections < 1) {
        return EDK_ERROR_RANGE;
    }
    if ((uintptr_t)scratch % sizeof(int32_t) != 0) {
        return EDK_ERROR_ALIGNMENT;
    }
    if (scratch_bytes < edk_detect_cells_scratch_bytes(params->height, params->width)) {
        return EDK_ERROR_SCRATCH;
    }
    int32_t *const links = scratch;
    find_objects(params, map, links);
    int32_t kept = 0;
    /* Backwards: when the first cell of an object is reached, all others are chained behind it, in their order. */
    for (int32_t cell = params->height * params->width - 1; cell >= 0; --cell) {
        const int32_t first = links[cell];
        if (first == NO_OBJECT) {
            continue;
        }
        if (first < cell) {
            links[cell] = links[first];
            links[first] = cell;
            continue;
        }
        const edk_detection found = describe(params, map, links, cell);
        kept = insert(detections, kept, max_detections, &found);
    }
    *count = kept;
    return EDK_OK;
}
