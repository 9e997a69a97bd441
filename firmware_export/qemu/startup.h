/* What the boards' startup code offers. */
#ifndef EDGEDET_STARTUP_H_
#define EDGEDET_STARTUP_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* SysTick ticks since reset. With -icount shift=0 one tick is 40 instructions on mps2 and 31.25 on mps3-an547. */
uint64_t startup_ticks(void);

#ifdef __cplusplus
}
#endif

#if __ARM_ARCH >= 8
#define STARTUP_TICKS_PER_SECOND 32000000u
#else
#define STARTUP_TICKS_PER_SECOND 25000000u
#endif

#endif
