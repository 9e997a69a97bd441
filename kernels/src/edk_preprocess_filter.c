#include "edk_preprocess_filter.h"

/* Positions are in units of 1 / (2 * n_out) source pixels. */
int32_t edk_preprocess_filter(int32_t n_in, int32_t n_out, int32_t index, edk_resize_mode mode, uint16_t *coefficients,
                              int32_t *first)
{
    const int64_t step = 2 * (int64_t)n_out;
    const int area = mode == EDK_RESIZE_LETTERBOX || mode == EDK_RESIZE_STRETCH; /* widened by the downscale factor */
    const int64_t support = 2 * (int64_t)(area && n_in > n_out ? n_in : n_out);
    const int64_t centre = (2 * (int64_t)index + 1) * n_in;
    const int64_t below = centre - support - n_out; /* the largest source left of the filter, times step */
    const int64_t low = below < 0 ? 0 : below / step + 1;
    const int64_t behind = (centre + support - n_out - 1) / step;
    const int64_t high = behind < n_in ? behind : n_in - 1;
    uint64_t total = 0;
    uint64_t sum = 0;
    uint64_t fixed_before = 0;
    for (int64_t source = low; source <= high; ++source) {
        const int64_t distance = centre - (source * step + n_out);
        total += (uint64_t)(support - (distance < 0 ? -distance : distance));
    }
    for (int64_t source = low; source <= high; ++source) {
        const int64_t distance = centre - (source * step + n_out);
        sum += (uint64_t)(support - (distance < 0 ? -distance : distance));
        /* Below 2^34 << 16: no overflow. Rounding the cumulated sum makes the coefficients sum to exactly 2^15. */
        const uint64_t fixed = ((sum << (COEFFICIENT_BITS + 1)) + total) / (2 * total);
        coefficients[source - low] = (uint16_t)(fixed - fixed_before);
        fixed_before = fixed;
    }
    *first = (int32_t)low;
    return (int32_t)(high - low + 1);
}
