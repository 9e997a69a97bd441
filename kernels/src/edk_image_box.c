#include "edk_placement.h"

#include <stddef.h>

edk_status edk_image_box(const edk_placement *placement, const float input_box[4], float image_box[4])
{
    if (placement == NULL || input_box == NULL || image_box == NULL) {
        return EDK_ERROR_NULL;
    }
    if (placement->image_width < 1 || placement->image_height < 1 || placement->new_width < 1 ||
        placement->new_height < 1) {
        return EDK_ERROR_SHAPE;
    }
    for (int corner = 0; corner < 4; ++corner) {
        const double side = corner % 2 == 0 ? placement->image_width : placement->image_height;
        const double new_side = corner % 2 == 0 ? placement->new_width : placement->new_height;
        double value = (double)input_box[corner] * (side / new_side);
        if (value < 0.0) {
            value = 0.0;
        } else if (value > side) {
            value = side;
        }
        image_box[corner] = (float)value;
    }
    return EDK_OK;
}
