/* Candidates in the scratch of a decoder, and their order. Every decoder of rows goes the same way:
 *
 *     offer each candidate (edk_detect_offer)  ->  best first (edk_detect_finish)  ->  boxes and NMS (edk_detect_suppress)
 */
#ifndef EDK_DETECT_CANDIDATE_H
#define EDK_DETECT_CANDIDATE_H

#include <stdint.h>
#include <string.h>

#define EDK_MAX_CANDIDATES (INT32_C(1) << 24)

typedef struct edk_detect_candidate {
    union {
        int32_t order; /* of the logit or score: integers compare faster, without an FPU much faster */
        float area;    /* see edk_detect_suppress() */
    } key;
    uint32_t position; /* of the class value: level, cell, anchor, class, so that it breaks ties as well */
} edk_detect_candidate;

/* Whether `a` goes behind `b`. */
static inline int edk_detect_is_worse(const edk_detect_candidate *a, const edk_detect_candidate *b)
{
    return a->key.order < b->key.order || (a->key.order == b->key.order && a->position > b->position);
}

/* An integer that grows with the float: the bits of a positive one do; those of a negative one are turned around. There
 * is no -0 among the logits: 0 * scale is 0, and any other integer times a positive scale is not 0. Scores are above 0. */
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

/* Keep a candidate if it is among the best `budget` so far; positions must come in ascending order. Returns the new size. */
static inline int32_t edk_detect_offer(edk_detect_candidate *heap, int32_t size, int32_t budget, int32_t order,
                                       uint32_t position)
{
    const edk_detect_candidate candidate = {{order}, position};
    if (size < budget) {
        heap[size++] = candidate;
        if (size == budget) {
            edk_detect_make_heap(heap, size);
        }
    } else if (order > heap[0].key.order) { /* on a tie the earlier position stays */
        heap[0] = candidate;
        edk_detect_sift_down(heap, size, 0);
    }
    return size;
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

/* After the last offer: best first. */
static inline void edk_detect_finish(edk_detect_candidate *heap, int32_t size, int32_t budget)
{
    if (size < budget) {
        edk_detect_make_heap(heap, size);
    }
    edk_detect_sort_heap(heap, size);
}

#endif
