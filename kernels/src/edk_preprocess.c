#include "edk_preprocess.h"

#include "edk_preprocess_layout.h"

#define COEFFICIENT_BITS 15
#define HALF (UINT32_C(1) << (COEFFICIENT_BITS - 1))

/* Filter of one output pixel along one axis; writes at most edk_preprocess_taps(n_in, n_out) coefficients.
 * Positions are in units of 1 / (2 * n_out) source pixels. */
static int32_t make_filter(int32_t n_in, int32_t n_out, int32_t index, uint16_t *coefficients, int32_t *first)
{
    const int64_t step = 2 * (int64_t)n_out;
    const int64_t support = 2 * (int64_t)(n_in > n_out ? n_in : n_out);
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

/* The rows of the frame that make one row of the reduced height. */
typedef struct row_filter {
    const uint8_t *pixels; /* of the first row */
    size_t stride_bytes;
    const uint16_t *coefficients;
    int32_t taps;
} row_filter;

/* Vertical passes: one row of the reduced height, still as wide as the image. Each group of columns runs through all
 * rows, so that its sums stay in registers. */

static void make_row_rgb888(const row_filter *filter, int32_t width, uint8_t *row)
{
    const uint16_t *const coefficients = filter->coefficients;
    const int32_t bytes = 3 * width;
    int32_t i = 0;
    for (; i + 6 <= bytes; i += 6) { /* unrolled by hand: -O2 would keep the sums in memory */
        uint32_t a = HALF, b = HALF, c = HALF, d = HALF, e = HALF, f = HALF;
        const uint8_t *pixels = filter->pixels + i;
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            const uint32_t coefficient = coefficients[tap];
            a += coefficient * pixels[0];
            b += coefficient * pixels[1];
            c += coefficient * pixels[2];
            d += coefficient * pixels[3];
            e += coefficient * pixels[4];
            f += coefficient * pixels[5];
            pixels += filter->stride_bytes;
        }
        row[i] = (uint8_t)(a >> COEFFICIENT_BITS);
        row[i + 1] = (uint8_t)(b >> COEFFICIENT_BITS);
        row[i + 2] = (uint8_t)(c >> COEFFICIENT_BITS);
        row[i + 3] = (uint8_t)(d >> COEFFICIENT_BITS);
        row[i + 4] = (uint8_t)(e >> COEFFICIENT_BITS);
        row[i + 5] = (uint8_t)(f >> COEFFICIENT_BITS);
    }
    for (; i < bytes; ++i) { /* the last pixel of an odd width */
        uint32_t sum = HALF;
        const uint8_t *pixels = filter->pixels + i;
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            sum += (uint32_t)coefficients[tap] * *pixels;
            pixels += filter->stride_bytes;
        }
        row[i] = (uint8_t)(sum >> COEFFICIENT_BITS);
    }
}

static void make_row_rgb565(const row_filter *filter, int32_t width, uint8_t *row)
{
    const uint16_t *const coefficients = filter->coefficients;
    for (int32_t x = 0; x < width; ++x) {
        uint32_t r = HALF, g = HALF, b = HALF;
        const uint8_t *pixel = filter->pixels + 2 * x;
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            const uint32_t coefficient = coefficients[tap];
            const uint32_t value = pixel[0] | (uint32_t)pixel[1] << 8;
            const uint32_t red = value >> 11;
            const uint32_t green = value >> 5 & 0x3fU;
            const uint32_t blue = value & 0x1fU;
            r += coefficient * (red << 3 | red >> 2);
            g += coefficient * (green << 2 | green >> 4);
            b += coefficient * (blue << 3 | blue >> 2);
            pixel += filter->stride_bytes;
        }
        row[3 * x] = (uint8_t)(r >> COEFFICIENT_BITS);
        row[3 * x + 1] = (uint8_t)(g >> COEFFICIENT_BITS);
        row[3 * x + 2] = (uint8_t)(b >> COEFFICIENT_BITS);
    }
}

/* floor(value / 65536), clipped to 0..255. */
static uint32_t clip_16(int32_t value)
{
    if ((uint32_t)value >= 256U * 65536U) { /* one comparison for the many that need no clipping */
        return value < 0 ? 0U : 255U;
    }
    return (uint32_t)value >> 16;
}

static void make_row_yuyv(const row_filter *filter, int32_t width, uint8_t *row)
{
    const uint16_t *const coefficients = filter->coefficients;
    for (int32_t x = 0; x < width; x += 2) {
        uint32_t a = HALF, b = HALF, c = HALF, d = HALF, e = HALF, f = HALF;
        const uint8_t *pair = filter->pixels + 2 * x;
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            const uint32_t coefficient = coefficients[tap];
            const int32_t u = pair[1] - 128;
            const int32_t v = pair[3] - 128;
            const int32_t red = 91881 * v + 32768;
            const int32_t green = -22554 * u - 46802 * v + 32768;
            const int32_t blue = 116130 * u + 32768;
            const int32_t left = pair[0] * 65536;
            const int32_t right = pair[2] * 65536;
            a += coefficient * clip_16(left + red);
            b += coefficient * clip_16(left + green);
            c += coefficient * clip_16(left + blue);
            d += coefficient * clip_16(right + red);
            e += coefficient * clip_16(right + green);
            f += coefficient * clip_16(right + blue);
            pair += filter->stride_bytes;
        }
        row[3 * x] = (uint8_t)(a >> COEFFICIENT_BITS);
        row[3 * x + 1] = (uint8_t)(b >> COEFFICIENT_BITS);
        row[3 * x + 2] = (uint8_t)(c >> COEFFICIENT_BITS);
        row[3 * x + 3] = (uint8_t)(d >> COEFFICIENT_BITS);
        row[3 * x + 4] = (uint8_t)(e >> COEFFICIENT_BITS);
        row[3 * x + 5] = (uint8_t)(f >> COEFFICIENT_BITS);
    }
}

static void make_row(const edk_image *image, int32_t first, const uint16_t *coefficients, int32_t taps, uint8_t *row)
{
    row_filter filter;
    filter.stride_bytes = (size_t)image->stride_bytes;
    filter.pixels = image->pixels + (size_t)first * filter.stride_bytes;
    filter.coefficients = coefficients;
    filter.taps = taps;
    if (image->format == EDK_PIXELS_RGB888) {
        make_row_rgb888(&filter, image->width, row);
    } else if (image->format == EDK_PIXELS_RGB565) {
        make_row_rgb565(&filter, image->width, row);
    } else {
        make_row_yuyv(&filter, image->width, row);
    }
}

static size_t row_bytes_of(const edk_image *image)
{
    return (size_t)image->width * (image->format == EDK_PIXELS_RGB888 ? 3U : 2U);
}

static void fill(int8_t *output, int32_t count, const edk_preprocess_params *params)
{
    for (int32_t i = 0; i < count; ++i) {
        for (int32_t channel = 0; channel < 3; ++channel) {
            output[3 * i + channel] = params->table[256 * channel + params->pad_value];
        }
    }
}

/* Horizontal pass and quantization of one row. */
static void finish_row(const uint8_t *row, const edk_placement *placement, const uint16_t *coefficients,
                       const uint16_t *first, int32_t taps, const int8_t *table, int8_t *output)
{
    for (int32_t x = 0; x < placement->new_width; ++x) {
        const int32_t rest = placement->image_width - first[x];
        const int32_t count = taps < rest ? taps : rest;
        const uint8_t *pixels = row + 3 * (size_t)first[x];
        uint32_t red = HALF;
        uint32_t green = HALF;
        uint32_t blue = HALF;
        for (int32_t tap = 0; tap < count; ++tap) {
            const uint32_t coefficient = coefficients[tap];
            red += coefficient * pixels[3 * tap];
            green += coefficient * pixels[3 * tap + 1];
            blue += coefficient * pixels[3 * tap + 2];
        }
        output[3 * x] = table[red >> COEFFICIENT_BITS];
        output[3 * x + 1] = table[256 + (green >> COEFFICIENT_BITS)];
        output[3 * x + 2] = table[512 + (blue >> COEFFICIENT_BITS)];
        coefficients += taps;
    }
}

static edk_status check_image(const edk_image *image)
{
    if (image->pixels == NULL) {
        return EDK_ERROR_NULL;
    }
    if (image->format != EDK_PIXELS_RGB888 && image->format != EDK_PIXELS_RGB565 && image->format != EDK_PIXELS_YUYV) {
        return EDK_ERROR_RANGE;
    }
    if (image->width < 1 || image->width > EDK_MAX_SIDE || image->height < 1 || image->height > EDK_MAX_SIDE ||
        (image->format == EDK_PIXELS_YUYV && image->width % 2 != 0)) {
        return EDK_ERROR_SHAPE;
    }
    const size_t row_bytes = row_bytes_of(image);
    if (image->stride_bytes < 0 || (size_t)image->stride_bytes < row_bytes ||
        (size_t)image->stride_bytes > SIZE_MAX / 2 / (size_t)image->height) {
        return EDK_ERROR_SHAPE;
    }
    return EDK_OK;
}

/* The parts of the caller's scratch. */
typedef struct workspace {
    uint16_t *coefficients_x;
    uint16_t *first_x;
    uint16_t *coefficients_y;
    uint8_t *row;
} workspace;

static workspace divide_scratch(void *scratch, const edk_preprocess_layout *plan)
{
    workspace parts;
    parts.coefficients_x = scratch;
    parts.first_x = (uint16_t *)scratch + plan->first_x / sizeof(uint16_t);
    parts.coefficients_y = (uint16_t *)scratch + plan->coefficients_y / sizeof(uint16_t);
    parts.row = (uint8_t *)scratch + plan->row;
    return parts;
}

static void make_column_filters(const edk_placement *placed, int32_t taps, const workspace *parts)
{
    for (int32_t x = 0; x < placed->new_width; ++x) {
        uint16_t *const filter = parts->coefficients_x + (size_t)x * (size_t)taps;
        int32_t first;
        const int32_t count = make_filter(placed->image_width, placed->new_width, x, filter, &first);
        for (int32_t tap = count; tap < taps; ++tap) {
            filter[tap] = 0;
        }
        parts->first_x[x] = (uint16_t)first;
    }
}

edk_status edk_preprocess(const edk_image *image, const edk_preprocess_params *params, void *scratch,
                          size_t scratch_bytes, int8_t *output, edk_placement *placement)
{
    if (image == NULL || params == NULL || params->table == NULL || scratch == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    edk_placement placed;
    edk_status status = check_image(image);
    if (status == EDK_OK) {
        status = edk_place_image(image->width, image->height, params->input_width, params->input_height,
                                 params->resize, &placed);
    }
    if (status != EDK_OK) {
        return status;
    }
    if ((uintptr_t)scratch % sizeof(uint16_t) != 0) {
        return EDK_ERROR_ALIGNMENT;
    }
    const edk_preprocess_layout plan = edk_preprocess_plan(&placed);
    if (scratch_bytes < plan.bytes) {
        return EDK_ERROR_SCRATCH;
    }
    const workspace parts = divide_scratch(scratch, &plan);
    make_column_filters(&placed, plan.taps_x, &parts);
    for (int32_t y = 0; y < placed.new_height; ++y) {
        int8_t *const output_row = output + 3 * (size_t)y * (size_t)params->input_width;
        int32_t first;
        const int32_t taps = make_filter(image->height, placed.new_height, y, parts.coefficients_y, &first);
        make_row(image, first, parts.coefficients_y, taps, parts.row);
        finish_row(parts.row, &placed, parts.coefficients_x, parts.first_x, plan.taps_x, params->table, output_row);
        fill(output_row + 3 * placed.new_width, params->input_width - placed.new_width, params);
    }
    for (int32_t y = placed.new_height; y < params->input_height; ++y) {
        fill(output + 3 * (size_t)y * (size_t)params->input_width, params->input_width, params);
    }
    if (placement != NULL) {
        *placement = placed;
    }
    return EDK_OK;
}
