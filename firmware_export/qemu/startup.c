/* Reset, vectors and an instruction counter for Cortex-M4, M7 and M55 on QEMU's MPS boards.
 *
 * The emulator loads every section where it runs, so that only .bss is left to clear.
 */
#include "startup.h"

#include <stddef.h>
#include <stdint.h>

#include "semihosting.h"

#define SYST_CSR (*(volatile uint32_t *)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t *)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t *)0xe000e018u)
#define SCB_CPACR (*(volatile uint32_t *)0xe000ed88u)
#define SYST_PERIOD 0x1000000u /* 24 bits */

extern uint32_t linker_stack_top, linker_bss_start, linker_bss_end;
int main(void);

static volatile uint32_t wraps;

void startup_reset(void);

static void systick(void)
{
    wraps++;
}

static void fault(void)
{
    semihosting_print("fault: the firmware touched memory or an instruction that it may not");
    semihosting_exit(100);
}

typedef void (*vector)(void);

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    (vector)(uintptr_t)&linker_stack_top,
    startup_reset,
    fault, /* NMI */
    fault, /* HardFault */
    fault, /* MemManage */
    fault, /* BusFault */
    fault, /* UsageFault */
    fault, /* SecureFault */
    NULL,
    NULL,
    NULL,
    fault, /* SVCall */
    fault, /* DebugMonitor */
    NULL,
    fault, /* PendSV */
    systick,
};

void startup_reset(void)
{
    SCB_CPACR |= 0xfu << 20; /* floating point and MVE */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    for (uint32_t *word = &linker_bss_start; word < &linker_bss_end; word++) {
        *word = 0;
    }
    SYST_RVR = SYST_PERIOD - 1u;
    SYST_CVR = 0;
    SYST_CSR = 7u; /* processor clock, interrupt, on */
    semihosting_exit(main());
}

uint64_t startup_ticks(void)
{
    uint32_t high, low;
    do { /* a wrap in between would pair an old count of wraps with a new count of ticks */
        high = wraps;
        low = SYST_PERIOD - 1u - SYST_CVR;
    } while (high != wraps);
    return (uint64_t)high * SYST_PERIOD + low;
}
