/* What every kernel returns. Names and texts come from one list, so that they can't drift apart. */
#ifndef EDK_STATUS_H
#define EDK_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, value, text): values are stable, generated code and tests print them. */
#define EDK_STATUS_LIST(X)                                                        \
    X(EDK_OK, 0, "ok")                                                            \
    X(EDK_BAD_ARGUMENT, 1, "an argument is a null pointer or outside its range")  \
    X(EDK_BAD_SHAPE, 2, "a size is not positive, too large, or does not fit the other sizes") \
    X(EDK_SCRATCH_TOO_SMALL, 3, "the scratch memory is smaller than edk_..._scratch_bytes() says") \
    X(EDK_MISALIGNED, 4, "a pointer is not aligned as the header demands")        \
    X(EDK_UNSUPPORTED, 5, "the combination of options has no implementation")

#define EDK_STATUS_ENTRY(name, value, text) name = value,
typedef enum edk_status { EDK_STATUS_LIST(EDK_STATUS_ENTRY) } edk_status;
#undef EDK_STATUS_ENTRY

/* English text of a status, never a null pointer; "unknown status" for a number that is none. */
const char *edk_status_text(edk_status status);

#ifdef __cplusplus
}
#endif

#endif
