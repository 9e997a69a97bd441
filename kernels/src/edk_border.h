/* Codes of the integer types that tensors at the ends of a network may have. */
#ifndef EDK_BORDER_H
#define EDK_BORDER_H

#include "edk_types.h"

static inline int edk_is_integer_type(edk_type type)
{
    return type == EDK_INT8 || type == EDK_UINT8 || type == EDK_INT16;
}

static inline int32_t edk_lowest(edk_type type)
{
    return type == EDK_INT16 ? INT16_MIN : (type == EDK_INT8 ? INT8_MIN : 0);
}

static inline int32_t edk_highest(edk_type type)
{
    return type == EDK_INT16 ? INT16_MAX : (type == EDK_INT8 ? INT8_MAX : UINT8_MAX);
}

static inline int edk_is_code_of(int32_t code, edk_type type)
{
    return code >= edk_lowest(type) && code <= edk_highest(type);
}

/* Element of a tensor of an integer type. */
static inline int32_t edk_code_at(const void *tensor, ptrdiff_t index, edk_type type)
{
    if (type == EDK_INT16) {
        return ((const int16_t *)tensor)[index];
    }
    return type == EDK_INT8 ? ((const int8_t *)tensor)[index] : ((const uint8_t *)tensor)[index];
}

#endif
