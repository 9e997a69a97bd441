/* The loop over the pixels of an operator on two inputs. */
#ifndef EDK_BROADCAST_LOOP_H
#define EDK_BROADCAST_LOOP_H

#include "edk_broadcast.h"

static inline int edk_broadcast_ok(const edk_broadcast *b)
{
    return b->height >= 1 && b->width >= 1 && b->channels >= 1 && b->out.channel == 1 && (b->in1.channel | 1) == 1 &&
           (b->in2.channel | 1) == 1;
}

static inline const int8_t *edk_broadcast_at(const int8_t *data, const edk_steps *steps, int y, int x)
{
    return data + (ptrdiff_t)y * steps->row + (ptrdiff_t)x * steps->pixel;
}

/* Codes of one pixel. */
typedef void edk_broadcast_run(const void *params, const int8_t *input1, const int8_t *input2, int8_t *output);

/* Inlined, so that the call of `run` is none. */
static inline void edk_broadcast_each(const edk_broadcast *b, edk_broadcast_run *run, const void *params,
                                      const int8_t *input1, const int8_t *input2, int8_t *output)
{
    for (int y = 0; y < b->height; y++) {
        for (int x = 0; x < b->width; x++) {
            run(params, edk_broadcast_at(input1, &b->in1, y, x), edk_broadcast_at(input2, &b->in2, y, x),
                output + (ptrdiff_t)y * b->out.row + (ptrdiff_t)x * b->out.pixel);
        }
    }
}

#endif
