#include "edk_detect_cells.h"

size_t edk_detect_cells_scratch_bytes(int32_t height, int32_t width)
{
    if (height < 1 || width < 1 || height > 65535 || width > 65535 || (int64_t)height * width >= INT64_C(1) << 29) {
        return 0;
    }
    return (size_t)height * (size_t)width * sizeof(int32_t);
}
