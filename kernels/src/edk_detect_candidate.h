/* A candidate in edk_detect's scratch, and the order of candidates. */
#ifndef EDK_DETECT_CANDIDATE_H
#define EDK_DETECT_CANDIDATE_H

#include <stdint.h>

#define EDK_MAX_CANDIDATES (INT32_C(1) << 24)

typedef struct edk_detect_candidate {
    float logit;
    uint32_t position; /* in the class tensors laid end to end: level, cell, class, so that it breaks ties as well */
} edk_detect_candidate;

/* Whether `a` goes behind `b`. */
static inline int edk_detect_is_worse(const edk_detect_candidate *a, const edk_detect_candidate *b)
{
    return a->logit < b->logit || (a->logit <= b->logit && a->position > b->position);
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
