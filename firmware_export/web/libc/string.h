/* The two functions of the C library that the kernels call; memory.c has them. clang brings the other headers. */
#ifndef EDGEDET_WEB_STRING_H_
#define EDGEDET_WEB_STRING_H_

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memset(void *to, int byte, size_t count);

#endif
