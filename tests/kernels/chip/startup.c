/* Vectors and reset of a bare-metal Cortex-M under QEMU with semihosting. QEMU's loader fills .data and zeroes .bss. */
#include <stdint.h>
#include <stdlib.h>

extern uint32_t stack_top;
extern void initialise_monitor_handles(void);
extern int main(void);

static void reset(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xF00000u; /* CPACR: floating point and MVE on */
    __asm__ volatile("dsb\n isb");
    initialise_monitor_handles();
    exit(main());
}

static void fault(void)
{
    _Exit(99);
}

typedef struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table table = {
    &stack_top, {reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, fault}};

void _init(void);
void _fini(void);

void _init(void)
{
}

void _fini(void)
{
}
