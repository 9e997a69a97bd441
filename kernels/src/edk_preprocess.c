#include "edk_preprocess.h"

#include "edk_preprocess_filter.h"

/* Vertical passes: one row of the reduced height, still as wide as the image. Each group of columns runs through all
 * rows, so that its sums stay in registers. */

static void make_row_rgb888(const edk_row_filter *filter, int32_t width, uint8_t *row)
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

static void make_row_rgb565(const edk_row_filter *filter, int32_t width, uint8_t *row)
{
    const uint16_t *const coefficients = filter->coefficients;
    for (int32_t x = 0; x < width; ++x) {
        uint32_t r = HALF, g = HALF, b = HALF;
        const uint8_t *pixel = filter->pixels + 2 * (size_t)x;
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
        row[3 * (size_t)x] = (uint8_t)(r >> COEFFICIENT_BITS);
        row[3 * (size_t)x + 1] = (uint8_t)(g >> COEFFICIENT_BITS);
        row[3 * (size_t)x + 2] = (uint8_t)(b >> COEFFICIENT_BITS);
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

static void make_row_yuyv(const edk_row_filter *filter, int32_t width, uint8_t *row)
{
    const uint16_t *const coefficients = filter->coefficients;
    for (int32_t x = 0; x < width; x += 2) {
        uint32_t a = HALF, b = HALF, c = HALF, d = HALF, e = HALF, f = HALF;
        const uint8_t *pair = filter->pixels + 2 * (size_t)x;
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
        row[3 * (size_t)x] = (uint8_t)(a >> COEFFICIENT_BITS);
        row[3 * (size_t)x + 1] = (uint8_t)(b >> COEFFICIENT_BITS);
        row[3 * (size_t)x + 2] = (uint8_t)(c >> COEFFICIENT_BITS);
        row[3 * (size_t)x + 3] = (uint8_t)(d >> COEFFICIENT_BITS);
        row[3 * (size_t)x + 4] = (uint8_t)(e >> COEFFICIENT_BITS);
        row[3 * (size_t)x + 5] = (uint8_t)(f >> COEFFICIENT_BITS);
    }
}

static void make_row(const edk_image *image, int32_t first, const uint16_t *coefficients, int32_t taps, uint8_t *row)
{
    const edk_row_filter filter = edk_rows_of(image, first, coefficients, taps);
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
            output[3 * (size_t)i + (size_t)channel] = params->table[256 * channel + params->pad_value];
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
            red += coefficient * pixels[3 * (size_t)tap];
            green += coefficient * pixels[3 * (size_t)tap + 1];
            blue += coefficient * pixels[3 * (size_t)tap + 2];
        }
        output[3 * (size_t)x] = table[red >> COEFFICIENT_BITS];
        output[3 * (size_t)x + 1] = table[256 + (green >> COEFFICIENT_BITS)];
        output[3 * (size_t)x + 2] = table[512 + (blue >> COEFFICIENT_BITS)];
        coefficients += taps;
    }
}

static edk_status check_image(const edk_image *image)
{
    if (image->format != EDK_PIXELS_RGB888 && image->format != EDK_PIXELS_RGB565 && image->format != EDK_PIXELS_YUYV) {
        return EDK_ERROR_RANGE;
    }
    return edk_check_frame(image, row_bytes_of(image));
}

edk_status edk_preprocess(const edk_image *image, const edk_preprocess_params *params, void *scratch,
                          size_t scratch_bytes, int8_t *output, edk_placement *placement)
{
    if (image == NULL || params == NULL || params->table == NULL || scratch == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    edk_filters filters;
    edk_status status = image->pixels == NULL ? EDK_ERROR_NULL : check_image(image);
    if (status == EDK_OK) {
        status = edk_preprocess_begin(image, params, 3, scratch, scratch_bytes, &filters);
    }
    if (status != EDK_OK) {
        return status;
    }
    const edk_placement *const placed = &filters.placed;
    for (int32_t y = 0; y < placed->new_height; ++y) {
        int8_t *const output_row = output + 3 * (size_t)y * (size_t)params->input_width;
        int32_t first;
        const int32_t taps =
            edk_preprocess_filter(image->height, placed->new_height, y, params->resize, filters.coefficients_y, &first);
        make_row(image, first, filters.coefficients_y, taps, filters.row);
        finish_row(filters.row, placed, filters.coefficients_x, filters.first_x, filters.taps_x, params->table,
                   output_row);
        fill(output_row + 3 * (size_t)placed->new_width, params->input_width - placed->new_width, params);
    }
    for (int32_t y = placed->new_height; y < params->input_height; ++y) {
        fill(output + 3 * (size_t)y * (size_t)params->input_width, params->input_width, params);
    }
    if (placement != NULL) {
        *placement = *placed;
    }
    return EDK_OK;
}
