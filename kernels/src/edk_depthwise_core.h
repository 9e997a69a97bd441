/* The inner part of edk_depthwise_conv_s8. Chosen at compile time. */
#ifndef EDK_DEPTHWISE_CORE_H
#define EDK_DEPTHWISE_CORE_H

#include "edk_target.h"

#if defined(EDK_USE_MVE)
#include "edk_depthwise_mve.h"
#elif defined(EDK_USE_DSP)
#include "edk_depthwise_dsp.h"
#else
#include "edk_depthwise_plain.h"

static inline void edk_depthwise_core(const edk_depthwise_conv_params *params, const int8_t *input, int8_t *output,
                                      void *scratch)
{
    (void)scratch;
    edk_depthwise_plain(params, input, output, 0);
}
#endif

#endif
