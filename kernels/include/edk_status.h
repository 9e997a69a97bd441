/* What every edk function returns. */
#ifndef EDK_STATUS_H
#define EDK_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Code and text of each status; enum and strings come from this one list. */
#define EDK_STATUS_LIST(X)                                                         \
    X(EDK_OK, "ok")                                                                \
    X(EDK_ERROR_NULL, "a pointer that is needed is null")                          \
    X(EDK_ERROR_SHAPE, "sizes, strides or padding contradict each other")          \
    X(EDK_ERROR_RANGE, "a zero point, activation limit or option is out of range") \
    X(EDK_ERROR_SCRATCH, "the scratch memory is too small")                        \
    X(EDK_ERROR_ALIGNMENT, "a pointer is not aligned as its header asks")          \
    X(EDK_ERROR_CAPACITY, "a fixed-size buffer is too small for the result")

typedef enum {
#define EDK_STATUS_CODE(code, text) code,
    EDK_STATUS_LIST(EDK_STATUS_CODE)
#undef EDK_STATUS_CODE
} edk_status;

/* Text of a status; "unknown status" for a value that is none. */
static inline const char *edk_status_text(edk_status status)
{
    switch (status) {
#define EDK_STATUS_TEXT(code, text) \
    case code:                      \
        return text;
        EDK_STATUS_LIST(EDK_STATUS_TEXT)
#undef EDK_STATUS_TEXT
    }
    return "unknown status";
}

#ifdef __cplusplus
}
#endif

#endif
