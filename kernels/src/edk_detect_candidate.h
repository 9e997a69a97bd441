/* A candidate in edk_detect's scratch, and the order of candidates. */
#ifndef EDK_DETECT_CANDIDATE_H
#define EDK_DETECT_CANDIDATE_H

#include <stdint.h>
#include <string.h>

#define EDK_MAX_CANDIDATES (INT32_C(1) << 24)

typedef struct edk_detect_candidate {
    union {
        int32_t order; /* of the logit: integers compare faster, without an FPU much faster */
        float area;    /* see suppress() */
    } key;
    uint32_t position; /* in the class tensors laid end to end: level, cell, class, so that it breaks ties as well */
} edk_detect_candidate;

/* Whether `a` goes behind `b`. */
static inline int edk_detect_is_worse(const edk_detect_candidate *a, const edk_detect_candidate *b)
{
    return a->key.order < b->key.order || (a->key.order == b->key.order && a->position > b->position);
}

/* An integer that grows with the float: the bits of a positive one do; those of a negative one are turned around. There
 * is no -0 among the logits: 0 * scale is 0, and any other integer times a positive scale is not 0. */
static inline int32_t edk_detect_order(float logit)
{
    uint32_t bits;
    int32_t order;
    memcpy(&bits, &logit, sizeof(bits));
    if (bits >> 31) {
        bits ^= 0x7fffffffU;
    }
    memcpy(&order, &bits, sizeof(order));
    return order;
}

/* Restore the heap below `root`, whose own value may be wrong: no child is worse than its parent. */
static inline void edk_detect_sift_down(edk_detect_candidate *heap, int32_t size, int32_t root)
{
    const edk_detect_candidate moving = heap[root];
    int32_t child = 2 * root + 1;
    while (child < size) {
        if (child + 1 < size && edk_detect_is_worse(&heap[child + 1], &heap[child])) {
            ++child;
        }
        if (!edk_detect_is_worse(&heap[child], &moving)) {
            break;
        }
        heap[root] = heap[child];
        root = child;
        child = 2 * root + 1;
    }
    heap[root] = moving;
}

static inline void edk_detect_make_heap(edk_detect_candidate *heap, int32_t size)
{
    for (int32_t root = size / 2 - 1; root >= 0; --root) {
        edk_detect_sift_down(heap, size, root);
    }
}

/* Sort a heap: best first. */
static inline void edk_detect_sort_heap(edk_detect_candidate *heap, int32_t size)
{
    for (int32_t last = size - 1; last > 0; --last) {
        const edk_detect_candidate worst = heap[0];
        heap[0] = heap[last];
        heap[last] = worst;
        edk_detect_sift_down(heap, last, 0);
    }
}

#endif
