/* The inner part of edk_conv_s8: some unfolded windows times all filters. Chosen at compile time. */
#ifndef EDK_CONV_CORE_H
#define EDK_CONV_CORE_H

#include "edk_target.h"

#if defined(EDK_USE_MVE)
#include "edk_conv_mve.h"
#elif defined(EDK_USE_DSP)
#include "edk_conv_dsp.h"
#else
#include "edk_conv_plain.h"
#endif

#endif
