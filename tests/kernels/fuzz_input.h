/* Takes numbers out of the fuzzer's bytes; behind the end everything is 0. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert: NDEBUG must not switch it off. */
#define REQUIRE(condition)                                                                  \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);   \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

typedef struct fuzz_input {
    const uint8_t *data;
    size_t size;
} fuzz_input;

static inline uint8_t take_byte(fuzz_input *input)
{
    if (input->size == 0) {
        return 0;
    }
    --input->size;
    return *input->data++;
}

static inline int32_t take_int32(fuzz_input *input)
{
    uint32_t bits = 0;
    int32_t value;
    for (int i = 0; i < 4; ++i) {
        bits = bits << 8 | take_byte(input);
    }
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline float take_float(fuzz_input *input)
{
    const int32_t bits = take_int32(input);
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* low..high; once in 32 any number at all. */
static inline int32_t take_range(fuzz_input *input, int32_t low, int32_t high)
{
    if (take_byte(input) < 8) {
        return take_int32(input);
    }
    const uint32_t bits = (uint32_t)take_byte(input) << 8 | take_byte(input);
    return low + (int32_t)(bits % (uint32_t)(high - low + 1));
}

/* Exactly `size` bytes on the heap, so that the sanitizer sees the first byte beyond them. */
static inline void *take_bytes(fuzz_input *input, size_t size)
{
    uint8_t *const bytes = malloc(size > 0 ? size : 1);
    REQUIRE(bytes != NULL);
    uint32_t state = take_byte(input) | 1U;
    for (size_t i = 0; i < size; ++i) {
        state = state * 1664525U + 1013904223U;
        bytes[i] = input->size > 0 ? take_byte(input) : (uint8_t)(state >> 24);
    }
    return bytes;
}

#endif
