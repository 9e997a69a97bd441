/* Source: ARM, Cortex-M System Design Kit, APB UART: registers; memory maps of the boards in QEMU. */
#include "uart.h"

#if __ARM_ARCH >= 8
#define UART_BASE 0x59303000u /* mps3-an547, secure */
#else
#define UART_BASE 0x40004000u /* mps2-an386, mps2-an500 */
#endif
#define UART_DATA (*(volatile uint32_t *)(UART_BASE + 0x00u))
#define UART_STATE (*(volatile uint32_t *)(UART_BASE + 0x04u))
#define UART_CTRL (*(volatile uint32_t *)(UART_BASE + 0x08u))
#define UART_BAUDDIV (*(volatile uint32_t *)(UART_BASE + 0x10u))
enum { STATE_TX_FULL = 1, STATE_RX_FULL = 2, CTRL_TX = 1, CTRL_RX = 2, LEAST_BAUDDIV = 16 };

void uart_open(void)
{
    UART_BAUDDIV = LEAST_BAUDDIV;
    UART_CTRL = CTRL_TX | CTRL_RX;
}

int uart_has_byte(void)
{
    return (UART_STATE & STATE_RX_FULL) != 0;
}

uint8_t uart_get(void)
{
    return (uint8_t)UART_DATA;
}

void uart_put(uint8_t byte)
{
    while ((UART_STATE & STATE_TX_FULL) != 0) {
    }
    UART_DATA = byte;
}
