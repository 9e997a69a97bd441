/* SysTick of a Cortex-M as a stopwatch: 24 bits, counts down with the processor's clock. On a PC: always 0. */
#ifndef TICKS_H
#define TICKS_H

#include <stdint.h>

#if defined(__arm__)
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)

static inline void ticks_start(void)
{
    SYST_RVR = 0xFFFFFFu;
    SYST_CVR = 0;
    SYST_CSR = 5; /* on, processor clock, no interrupt */
}

static inline uint32_t ticks_now(void)
{
    return SYST_CVR;
}

static inline uint32_t ticks_since(uint32_t then)
{
    return (then - SYST_CVR) & 0xFFFFFFu;
}
#else
static inline void ticks_start(void)
{
}

static inline uint32_t ticks_now(void)
{
    return 0;
}

static inline uint32_t ticks_since(uint32_t then)
{
    return then;
}
#endif

#endif
