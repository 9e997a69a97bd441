#include "edk_status.h"

const char *edk_status_text(edk_status status)
{
    switch (status) {
#define EDK_STATUS_CASE(name, value, text) \
    case name:                             \
        return text;
        EDK_STATUS_LIST(EDK_STATUS_CASE)
#undef EDK_STATUS_CASE
    default:
        return "unknown status";
    }
}
