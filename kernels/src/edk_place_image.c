#include "edk_placement.h"

#include <stddef.h>

static int32_t scaled_side(int32_t side, int32_t limiting_input, int32_t limiting_image)
{
    const int64_t doubled = 2 * (int64_t)side * limiting_input + limiting_image;
    const int64_t rounded = doubled / (2 * (int64_t)limiting_image);
    return rounded < 1 ? 1 : (int32_t)rounded;
}

edk_status edk_place_image(int32_t image_width, int32_t image_height, int32_t input_width, int32_t input_height,
                           edk_resize_mode mode, edk_placement *placement)
{
    if (placement == NULL) {
        return EDK_ERROR_NULL;
    }
    const int letterbox = mode == EDK_RESIZE_LETTERBOX || mode == EDK_RESIZE_LETTERBOX_BILINEAR;
    if (!letterbox && mode != EDK_RESIZE_STRETCH && mode != EDK_RESIZE_STRETCH_BILINEAR) {
        return EDK_ERROR_RANGE;
    }
    if (image_width < 1 || image_height < 1 || input_width < 1 || input_height < 1 || image_width > EDK_MAX_SIDE ||
        image_height > EDK_MAX_SIDE || input_width > EDK_MAX_SIDE || input_height > EDK_MAX_SIDE) {
        return EDK_ERROR_SHAPE;
    }
    placement->image_width = image_width;
    placement->image_height = image_height;
    placement->new_width = input_width;
    placement->new_height = input_height;
    if (letterbox) {
        /* The aspect ratios compared without a division. */
        if ((int64_t)image_width * input_height >= (int64_t)image_height * input_width) {
            placement->new_height = scaled_side(image_height, input_width, image_width);
        } else {
            placement->new_width = scaled_side(image_width, input_height, image_height);
        }
    }
    return EDK_OK;
}
