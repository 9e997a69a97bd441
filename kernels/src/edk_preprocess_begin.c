#include "edk_preprocess_filter.h"

static void make_column_filters(const edk_filters *filters, edk_resize_mode mode)
{
    const edk_placement *const placed = &filters->placed;
    const int32_t taps = filters->taps_x;
    for (int32_t x = 0; x < placed->new_width; ++x) {
        uint16_t *const filter = filters->coefficients_x + (size_t)x * (size_t)taps;
        int32_t first;
        const int32_t count = edk_preprocess_filter(placed->image_width, placed->new_width, x, mode, filter, &first);
        for (int32_t tap = count; tap < taps; ++tap) {
            filter[tap] = 0;
        }
        filters->first_x[x] = (uint16_t)first;
    }
}

edk_status edk_preprocess_begin(const edk_image *image, const edk_preprocess_params *params, int32_t channels,
                                void *scratch, size_t scratch_bytes, edk_filters *filters)
{
    const edk_status status = edk_place_image(image->width, image->height, params->input_width, params->input_height,
                                              params->resize, &filters->placed);
    if (status != EDK_OK) {
        return status;
    }
    if ((uintptr_t)scratch % sizeof(uint16_t) != 0) {
        return EDK_ERROR_ALIGNMENT;
    }
    const edk_preprocess_layout plan = edk_preprocess_plan(&filters->placed, channels);
    if (scratch_bytes < plan.bytes) {
        return EDK_ERROR_SCRATCH;
    }
    filters->taps_x = plan.taps_x;
    filters->coefficients_x = scratch;
    filters->first_x = (uint16_t *)scratch + plan.first_x / sizeof(uint16_t);
    filters->coefficients_y = (uint16_t *)scratch + plan.coefficients_y / sizeof(uint16_t);
    filters->row = (uint8_t *)scratch + plan.row;
    make_column_filters(filters, params->resize);
    return EDK_OK;
}
