/* The first UART of QEMU's MPS boards (CMSDK APB UART), by polling. */
#ifndef EDGEDET_UART_H_
#define EDGEDET_UART_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Switch it on; the emulator knows no speed of a line. */
void uart_open(void);
/* Whether a byte has come. */
int uart_has_byte(void);
/* That byte. */
uint8_t uart_get(void);
/* Send a byte; waits until there is room. */
void uart_put(uint8_t byte);

#ifdef __cplusplus
}
#endif

#endif
