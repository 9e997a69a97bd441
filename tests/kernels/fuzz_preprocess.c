/* Fuzz target of edk_preprocess and edk_preprocess_gray: any frame, any contract; buffers exactly as large as the header promises. */
#include "fuzz_input.h"

#include "edk_preprocess_gray.h"

#define MOST_PIXELS (1 << 20) /* of a frame or an input, to bound time and memory */

static int is_too_large(int32_t width, int32_t height)
{
    return width > 0 && height > 0 && (int64_t)width * height > MOST_PIXELS;
}

static void check_padding(const edk_preprocess_params *params, const edk_placement *placed, const int8_t *output,
                          int32_t channels)
{
    for (int32_t y = 0; y < params->input_height; ++y) {
        for (int32_t x = y < placed->new_height ? placed->new_width : 0; x < params->input_width; ++x) {
            for (int32_t c = 0; c < channels; ++c) {
                const size_t pixel = (size_t)y * (size_t)params->input_width + (size_t)x;
                REQUIRE(output[(size_t)channels * pixel + (size_t)c] == params->table[256 * c + params->pad_value]);
            }
        }
    }
}

/* Twice with other rubbish in the scratch: what it held must not matter. */
static void run(const edk_image *image, const edk_preprocess_params *params, int32_t channels)
{
    const size_t scratch_bytes = channels == 1
                                     ? edk_preprocess_gray_scratch_bytes(params, image->width, image->height)
                                     : edk_preprocess_scratch_bytes(params, image->width, image->height);
    const int sane = scratch_bytes > 0;
    const size_t pixels = sane ? (size_t)params->input_width * (size_t)params->input_height : 0;
    const size_t output_bytes = (size_t)channels * pixels;
    int8_t *outputs[2];
    edk_placement placed[2];
    edk_status status[2];
    for (int i = 0; i < 2; ++i) {
        void *const scratch = malloc(sane ? scratch_bytes : 1);
        outputs[i] = malloc(sane ? output_bytes : 1);
        REQUIRE(scratch != NULL && outputs[i] != NULL);
        memset(scratch, i == 0 ? 0x00 : 0xFF, sane ? scratch_bytes : 1);
        status[i] = channels == 1
                        ? edk_preprocess_gray(image, params, scratch, scratch_bytes, outputs[i], &placed[i])
                        : edk_preprocess(image, params, scratch, scratch_bytes, outputs[i], &placed[i]);
        free(scratch);
    }
    REQUIRE(status[0] == status[1]);
    if (status[0] == EDK_OK) {
        REQUIRE(memcmp(outputs[0], outputs[1], output_bytes) == 0);
        REQUIRE(placed[0].new_width >= 1 && placed[0].new_width <= params->input_width);
        REQUIRE(placed[0].new_height >= 1 && placed[0].new_height <= params->input_height);
        check_padding(params, &placed[0], outputs[0], channels);
    }
    free(outputs[0]);
    free(outputs[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    edk_image image;
    edk_preprocess_params params;
    const int thin = take_byte(&input) % 8; /* now and then a very long side */
    image.width = take_range(&input, 1, thin == 0 ? 65535 : 300);
    image.height = take_range(&input, 1, thin == 1 ? 65535 : 300);
    image.format = (edk_pixel_format)(take_byte(&input) % 5); /* 4: unknown */
    static const int32_t pixel_bytes[5] = {3, 2, 2, 1, 1};
    const int32_t row_bytes = image.width > 0 && image.width <= EDK_MAX_SIDE
                                  ? image.width * pixel_bytes[image.format]
                                  : 0;
    image.stride_bytes = row_bytes + take_range(&input, 0, 9) % 4096;
    params.input_width = take_range(&input, 1, 100);
    params.input_height = take_range(&input, 1, 100);
    params.resize = (edk_resize_mode)(take_byte(&input) % 5);
    params.pad_value = take_byte(&input);
    if (is_too_large(image.width, image.height) || is_too_large(params.input_width, params.input_height)) {
        return 0;
    }
    size_t pixels_bytes = 0;
    if (row_bytes > 0 && image.height > 0 && image.stride_bytes >= row_bytes) {
        /* The last row ends with its pixels. */
        pixels_bytes = (size_t)image.stride_bytes * (size_t)(image.height - 1) + (size_t)row_bytes;
    }
    if (pixels_bytes > 8 * (size_t)MOST_PIXELS) {
        return 0; /* a frame of 1 x 524288 px with 1539 bytes a row is 807 MB, and 10 s to fill */
    }
    int8_t *const table = take_bytes(&input, 768);
    uint8_t *const pixels = take_bytes(&input, pixels_bytes);
    params.table = table;
    image.pixels = pixels;
    run(&image, &params, 3);
    run(&image, &params, 1);
    free(table);
    free(pixels);
    return 0;
}
