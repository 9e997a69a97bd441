/* What the runners of recorded cases share: cases.bin in, results.bin out, the integers and arrays of a case.
 *
 * cases.bin, int32 words: per case what to run, what the runner itself reads, then the number of integers, the integers,
 * the number of arrays, and each array as bytes and data (filled up to whole words).
 * results.bin, int32 words: per case the status, the ticks taken, the bytes of output and the output (filled up).
 *
 * One runner, one program: the functions are static because each includes this once.
 */
#ifndef CASES_H
#define CASES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edk_status.h"
#include "ticks.h"

#define MAX_INTEGERS 160
#define MAX_ARRAYS 48
#define HOLE 0x5A    /* what memory holds before */
#define SCRATCH 0x7F /* what scratch holds before: as int16 the largest number of equal bytes */

static int32_t integers[MAX_INTEGERS];
static int32_t next_integer;
static void *arrays[MAX_ARRAYS];
static int32_t array_count;

static int32_t take(void)
{
    return integers[next_integer++];
}

static int16_t take16(void)
{
    return (int16_t)take();
}

/* Memory of exactly this size, so that a sanitizer sees the first byte behind it. */
static void *memory(size_t bytes)
{
    void *const block = malloc(bytes == 0 ? 1 : bytes);
    if (block == NULL) {
        fprintf(stderr, "no memory for %u bytes\n", (unsigned)bytes);
        exit(1);
    }
    memset(block, HOLE, bytes);
    return block;
}

static void read_words(FILE *file, void *to, size_t words)
{
    if (fread(to, 4, words, file) != words) {
        fprintf(stderr, "cases.bin ends too early\n");
        exit(1);
    }
}

static int32_t read_word(FILE *file)
{
    int32_t word;
    read_words(file, &word, 1);
    return word;
}

static int32_t read_count(FILE *file, int32_t limit)
{
    const int32_t count = read_word(file);
    if (count < 0 || count > limit) {
        fprintf(stderr, "a case has %d integers or arrays, this program has room for %d\n", (int)count, (int)limit);
        exit(1);
    }
    return count;
}

static void *read_array(FILE *file)
{
    const size_t bytes = (size_t)read_word(file), rest = bytes % 4;
    char *const array = memory(bytes);
    char last[4];
    read_words(file, array, bytes / 4);
    if (rest != 0) {
        read_words(file, last, 1);
        memcpy(array + (bytes - rest), last, rest);
    }
    return array;
}

/* Integers and arrays of the next case; the arrays live until free_arrays(). */
static void read_arguments(FILE *file)
{
    next_integer = 0;
    const int32_t integer_count = read_count(file, MAX_INTEGERS);
    read_words(file, integers, (size_t)integer_count);
    array_count = read_count(file, MAX_ARRAYS);
    for (int32_t i = 0; i < array_count; i++) {
        arrays[i] = read_array(file);
    }
}

static void free_arrays(void)
{
    for (int32_t i = 0; i < array_count; i++) {
        free(arrays[i]);
    }
}

static void write_result(FILE *results, edk_status status, uint32_t ticks, const void *output, size_t bytes)
{
    const int32_t head[3] = {(int32_t)status, (int32_t)ticks, (int32_t)bytes};
    const char zeros[4] = {0};
    fwrite(head, 4, 3, results);
    fwrite(output, 1, bytes, results);
    fwrite(zeros, 1, (4 - bytes % 4) % 4, results);
}

/* main() of a runner: run_case() gets what to run. */
static int run_all_cases(void (*run_case)(FILE *cases, FILE *results, int32_t what))
{
    FILE *const cases = fopen("cases.bin", "rb"), *const results = fopen("results.bin", "wb");
    if (cases == NULL || results == NULL) {
        fprintf(stderr, "cases.bin or results.bin can't be opened\n");
        return 1;
    }
    ticks_start();
    int32_t what;
    while (fread(&what, 4, 1, cases) == 1) {
        run_case(cases, results, what);
    }
    fclose(cases);
    return fclose(results) == 0 ? 0 : 1;
}

#endif
