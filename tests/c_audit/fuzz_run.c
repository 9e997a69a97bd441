/* Fuzz target of a generated module: any frame, pointer, size and stride gives a status, and never touches what is not its own. */
#include "fuzz_input.h"

#include "model.h"
#include "run.h"

#define MOST_BYTES (1 << 22) /* of a frame, to bound time and memory */
#define MOST_DETECTIONS 64

/* Bytes that a frame of such sides must have behind its pointer; 0 when a status must come before any is read. */
static int64_t frame_bytes(const edk_image *image)
{
    static const int32_t pixel_bytes[5] = {3, 2, 2, 1, 1};
    const int64_t row = (int64_t)image->width * pixel_bytes[image->format];
    if (image->width < 1 || image->width > EDK_MAX_SIDE || image->height < 1 || image->height > EDK_MAX_SIDE ||
        image->stride_bytes < row) {
        return 0;
    }
    return (int64_t)image->stride_bytes * (image->height - 1) + row;
}

static int32_t take_side(fuzz_input *input)
{
    const int kind = take_byte(input) % 8;
    return kind == 0 ? take_range(input, 0, 65535) : take_range(input, 1, kind < 4 ? 64 : 400);
}

static void check_found(const edk_image *image, const edk_detection *found, int32_t count, int32_t room)
{
    REQUIRE(count >= 0 && count <= room);
    for (int32_t i = 0; i < count; ++i) {
        REQUIRE(found[i].box[0] >= 0.0f && found[i].box[2] <= (float)image->width);
        REQUIRE(found[i].box[1] >= 0.0f && found[i].box[3] <= (float)image->height);
        REQUIRE(found[i].label >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    edk_image image;
    image.width = take_side(&input);
    image.height = take_side(&input);
    image.format = (edk_pixel_format)(take_byte(&input) % 5); /* 4: unknown */
    image.stride_bytes = take_range(&input, 0, 1300);
    if (take_byte(&input) % 2 == 0 && image.width > 0 && image.width <= EDK_MAX_SIDE) {
        image.stride_bytes = 3 * image.width;
    }
    const uint8_t broken = take_byte(&input); /* bits: which arguments are wrong; mostly none */
    const uint8_t nulls = broken < 160 ? 0 : take_byte(&input);
    const int32_t room = take_range(&input, 1, MOST_DETECTIONS);
    const size_t arena_bytes = (nulls & 32) != 0 ? (size_t)(uint32_t)take_int32(&input) % EDGEDET_ARENA_BYTES
                                                 : (size_t)EDGEDET_ARENA_BYTES;
    const int64_t bytes = frame_bytes(&image);
    if (bytes > MOST_BYTES || room > 4096) {
        return 0;
    }
    /* Aligned to 16; the arena starts 16 bytes behind, so that a pointer can be wrong by less. */
    int8_t *const memory = aligned_alloc(16, (arena_bytes + 31) / 16 * 16);
    edk_detection *const found = malloc(sizeof(edk_detection) * (size_t)(room > 0 ? room : 1));
    uint8_t *const pixels = take_bytes(&input, (size_t)bytes);
    int32_t count = -1;
    REQUIRE(memory != NULL && found != NULL);
    image.pixels = (nulls & 1) != 0 ? NULL : pixels;
    int8_t *const arena = (nulls & 2) != 0 ? NULL : memory + ((nulls & 4) != 0 ? 1 + (nulls & 7) : 0);
    const edk_status status = edgedet_run((nulls & 8) != 0 ? NULL : &image, arena, arena_bytes,
                                          (nulls & 16) != 0 ? NULL : found, room, (nulls & 64) != 0 ? NULL : &count);
    if (nulls != 0 && (nulls & 127) != 0) {
        REQUIRE(status != EDK_OK);
    }
    if (bytes == 0 || room < 1) {
        REQUIRE(status != EDK_OK);
    }
    if (status == EDK_OK) {
        check_found(&image, found, count, room);
    }
    free(memory);
    free(found);
    free(pixels);
    return 0;
}
