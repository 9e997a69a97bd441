#include "edk_detect.h"
#include "edk_detect_candidate.h"

size_t edk_detect_scratch_bytes(int32_t max_candidates)
{
    if (max_candidates < 1 || max_candidates > EDK_MAX_CANDIDATES) {
        return 0;
    }
    return (size_t)max_candidates * sizeof(edk_detect_candidate);
}
