/* Files of the host, through ARM semihosting; the emulator serves the calls. */
#ifndef EDGEDET_SEMIHOSTING_H_
#define EDGEDET_SEMIHOSTING_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Handle of a file, or -1. write: 0 to read, 1 to write anew. */
int semihosting_open(const char *name, int write);
/* 1 when all bytes were read or written, else 0. */
int semihosting_read(int handle, void *data, size_t bytes);
int semihosting_write(int handle, const void *data, size_t bytes);
/* Bytes of a file, or -1. */
long semihosting_length(int handle);
void semihosting_close(int handle);
/* Line on the emulator's standard error output. */
void semihosting_print(const char *text);
/* End the emulation with an exit status. */
void semihosting_exit(int status) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

#endif
