#include "edk_preprocess_gray.h"
#include "edk_preprocess_layout.h"

size_t edk_preprocess_gray_scratch_bytes(const edk_preprocess_params *params, int32_t image_width, int32_t image_height)
{
    edk_placement placement;
    if (params == NULL || edk_place_image(image_width, image_height, params->input_width, params->input_height,
                                          params->resize, &placement) != EDK_OK) {
        return 0;
    }
    return edk_preprocess_plan(&placement, 1).bytes;
}
