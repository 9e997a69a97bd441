/* All network operators of edgedet's C99 kernels. */
#ifndef EDK_H
#define EDK_H

#include "edk_add_s8.h"
#include "edk_average_pool_s8.h"
#include "edk_concat_s8.h"
#include "edk_conv_s8.h"
#include "edk_copy_s8.h"
#include "edk_depthwise_conv_s8.h"
#include "edk_dequantize_f32.h"
#include "edk_fully_connected_s8.h"
#include "edk_gather_s8.h"
#include "edk_lut_s8.h"
#include "edk_max_pool_s8.h"
#include "edk_mean_s8.h"
#include "edk_mul_s8.h"
#include "edk_pad_s8.h"
#include "edk_quantize_f32.h"
#include "edk_requantize_any.h"
#include "edk_requantize_s8.h"
#include "edk_resize_nearest_s8.h"
#include "edk_softmax_s8.h"
#include "edk_status.h"
#include "edk_sub_s8.h"
#include "edk_transpose_s8.h"
#include "edk_types.h"

#endif
