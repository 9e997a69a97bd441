/* TRANSPOSE, and every other operator that is a strided copy: SLICE, STRIDED_SLICE, SPLIT, SPLIT_V, UNPACK, TILE, GATHER
 * with evenly spaced indices, SPACE_TO_DEPTH, DEPTH_TO_SPACE. */
#ifndef EDK_TRANSPOSE_S8_H
#define EDK_TRANSPOSE_S8_H

#include "edk_status.h"
#include "edk_types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EDK_TRANSPOSE_AXES 6

/* The output is dense with sizes size[0] .. size[5] (leading ones for fewer axes); its element (i0, .., i5) is input
 * element sum of i_k * step[k]. For TRANSPOSE with permutation p, step[k] is the input's stride along axis p[k].
 */
typedef struct {
    int32_t size[EDK_TRANSPOSE_AXES];
    int32_t step[EDK_TRANSPOSE_AXES]; /* elements; may be negative or 0 */
} edk_transpose_params;

/* input and output must not overlap.
 * Returns EDK_OK, EDK_ERROR_NULL or EDK_ERROR_SHAPE; nothing is written unless EDK_OK.
 */
edk_status edk_transpose_s8(const edk_transpose_params *params, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
