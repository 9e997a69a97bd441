#include "edk_preprocess_gray.h"

#include <string.h>

#include "edk_preprocess_filter.h"

/* Vertical passes: one grey row of the reduced height, still as wide as the image. */

/* Bytes `step` apart: GRAY8, and the Y of YUYV. */
static void make_row_bytes(const edk_row_filter *filter, int32_t width, int32_t step, uint8_t *row)
{
    const uint16_t *const coefficients = filter->coefficients;
    int32_t x = 0;
    for (; x + 4 <= width; x += 4) { /* unrolled by hand: the sums stay in registers */
        uint32_t a = HALF, b = a, c = a, d = a;
        const uint8_t *pixels = filter->pixels + (size_t)step * (size_t)x;
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            const uint32_t coefficient = coefficients[tap];
            a += coefficient * pixels[0];
            b += coefficient * pixels[step];
            c += coefficient * pixels[2 * (size_t)step];
            d += coefficient * pixels[3 * (size_t)step];
            pixels += filter->stride_bytes;
        }
        row[x] = (uint8_t)(a >> COEFFICIENT_BITS);
        row[x + 1] = (uint8_t)(b >> COEFFICIENT_BITS);
        row[x + 2] = (uint8_t)(c >> COEFFICIENT_BITS);
        row[x + 3] = (uint8_t)(d >> COEFFICIENT_BITS);
    }
    for (; x < width; ++x) {
        uint32_t sum = HALF;
        const uint8_t *pixel = filter->pixels + (size_t)step * (size_t)x;
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            sum += (uint32_t)coefficients[tap] * *pixel;
            pixel += filter->stride_bytes;
        }
        row[x] = (uint8_t)(sum >> COEFFICIENT_BITS);
    }
}

static uint32_t luma(uint32_t red, uint32_t green, uint32_t blue)
{
    return (19595U * red + 38470U * green + 7471U * blue + 32768U) >> 16;
}

static void make_row_rgb888(const edk_row_filter *filter, int32_t width, uint8_t *row)
{
    for (int32_t x = 0; x < width; ++x) {
        uint32_t sum = HALF;
        const uint8_t *pixel = filter->pixels + 3 * (size_t)x;
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            sum += filter->coefficients[tap] * luma(pixel[0], pixel[1], pixel[2]);
            pixel += filter->stride_bytes;
        }
        row[x] = (uint8_t)(sum >> COEFFICIENT_BITS);
    }
}

static void make_row_rgb565(const edk_row_filter *filter, int32_t width, uint8_t *row)
{
    for (int32_t x = 0; x < width; ++x) {
        uint32_t sum = HALF;
        const uint8_t *pixel = filter->pixels + 2 * (size_t)x;
        for (int32_t tap = 0; tap < filter->taps; ++tap) {
            const uint32_t value = pixel[0] | (uint32_t)pixel[1] << 8;
            const uint32_t red = value >> 11;
            const uint32_t green = value >> 5 & 0x3fU;
            const uint32_t blue = value & 0x1fU;
            sum +=
                filter->coefficients[tap] * luma(red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2);
            pixel += filter->stride_bytes;
        }
        row[x] = (uint8_t)(sum >> COEFFICIENT_BITS);
    }
}

static void make_row(const edk_image *image, const edk_row_filter *filter, uint8_t *row)
{
    if (image->format == EDK_PIXELS_GRAY8) {
        make_row_bytes(filter, image->width, 1, row);
    } else if (image->format == EDK_PIXELS_YUYV) {
        make_row_bytes(filter, image->width, 2, row);
    } else if (image->format == EDK_PIXELS_RGB888) {
        make_row_rgb888(filter, image->width, row);
    } else {
        make_row_rgb565(filter, image->width, row);
    }
}

/* Horizontal pass and quantization of one row. */
static void finish_row(const uint8_t *row, const edk_placement *placement, const uint16_t *coefficients,
                       const uint16_t *first, int32_t taps, const int8_t *table, int8_t *output)
{
    for (int32_t x = 0; x < placement->new_width; ++x) {
        const int32_t rest = placement->image_width - first[x];
        const int32_t count = taps < rest ? taps : rest;
        const uint8_t *const pixels = row + first[x];
        uint32_t sum = HALF;
        for (int32_t tap = 0; tap < count; ++tap) {
            sum += (uint32_t)coefficients[tap] * pixels[tap];
        }
        output[x] = table[sum >> COEFFICIENT_BITS];
        coefficients += taps;
    }
}

static edk_status check_image(const edk_image *image)
{
    size_t pixel_bytes = 2;
    if (image->format == EDK_PIXELS_GRAY8) {
        pixel_bytes = 1;
    } else if (image->format == EDK_PIXELS_RGB888) {
        pixel_bytes = 3;
    } else if (image->format != EDK_PIXELS_RGB565 && image->format != EDK_PIXELS_YUYV) {
        return EDK_ERROR_RANGE;
    }
    return edk_check_frame(image, (size_t)image->width * pixel_bytes);
}

edk_status edk_preprocess_gray(const edk_image *image, const edk_preprocess_params *params, void *scratch,
                               size_t scratch_bytes, int8_t *output, edk_placement *placement)
{
    if (image == NULL || params == NULL || params->table == NULL || scratch == NULL || output == NULL) {
        return EDK_ERROR_NULL;
    }
    edk_filters filters;
    edk_status status = image->pixels == NULL ? EDK_ERROR_NULL : check_image(image);
    if (status == EDK_OK) {
        status = edk_preprocess_begin(image, params, 1, scratch, scratch_bytes, &filters);
    }
    if (status != EDK_OK) {
        return status;
    }
    const edk_placement *const placed = &filters.placed;
    const size_t width = (size_t)params->input_width;
    const int padding = params->table[params->pad_value];
    for (int32_t y = 0; y < placed->new_height; ++y) {
        int8_t *const output_row = output + (size_t)y * width;
        int32_t first;
        const int32_t taps =
            edk_preprocess_filter(image->height, placed->new_height, y, params->resize, filters.coefficients_y, &first);
        const edk_row_filter rows = edk_rows_of(image, first, filters.coefficients_y, taps);
        make_row(image, &rows, filters.row);
        finish_row(filters.row, placed, filters.coefficients_x, filters.first_x, filters.taps_x, params->table,
                   output_row);
        memset(output_row + placed->new_width, padding, width - (size_t)placed->new_width);
    }
    memset(output + (size_t)placed->new_height * width, padding,
           width * (size_t)(params->input_height - placed->new_height));
    if (placement != NULL) {
        *placement = *placed;
    }
    return EDK_OK;
}
