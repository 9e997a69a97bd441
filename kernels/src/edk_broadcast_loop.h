/* The loop over the pixels of an operator on two inputs. */
#ifndef EDK_BROADCAST_LOOP_H
#define EDK_BROADCAST_LOOP_H

#include "edk_broadcast.h"

static inline int edk_broadcast_ok(const edk_broadcast *b)
{
    return b->height >= 1 && b->width >= 1 && b->channels >= 1 && b->out.channel == 1 && (b->in1.channel | 1) == 1 &&
           (b->in2.channel | 1) == 1;
}

/* Offset of a pixel, bytes; of codes of `bytes` bytes. */
static inline ptrdiff_t edk_broadcast_at(const edk_steps *steps, int y, int x, int bytes)
{
    return ((ptrdiff_t)y * steps->row + (ptrdiff_t)x * steps->pixel) * bytes;
}

/* Codes of one pixel. */
typedef void edk_broadcast_run(const void *params, const void *input1, const void *input2, void *output);

/* Inlined, so that the call of `run` is none; `bytes`: of one code. */
static inline void edk_broadcast_each(const edk_broadcast *b, edk_broadcast_run *run, const void *params, int bytes,
                                      const void *input1, const void *input2, void *output)
{
    for (int y = 0; y < b->height; y++) {
        for (int x = 0; x < b->width; x++) {
            run(params, (const int8_t *)input1 + edk_broadcast_at(&b->in1, y, x, bytes),
                (const int8_t *)input2 + edk_broadcast_at(&b->in2, y, x, bytes),
                (int8_t *)output + edk_broadcast_at(&b->out, y, x, bytes));
        }
    }
}

#endif
