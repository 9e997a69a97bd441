/* Feeds random bytes to a fuzz target where libFuzzer is missing: fuzz_main SECONDS SEED. */
#include "fuzz_input.h"

#include <time.h>

#define LONGEST 4096

static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*state >> 33);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s SECONDS SEED\n", argv[0]);
        return 2;
    }
    const time_t end = time(NULL) + strtol(argv[1], NULL, 10);
    uint64_t state = strtoul(argv[2], NULL, 10);
    unsigned long runs = 0;
    do {
        /* Exactly as long as it says, for the sanitizer's sake. */
        const size_t size = next(&state) % LONGEST;
        uint8_t *const data = malloc(size + 1);
        REQUIRE(data != NULL);
        const uint32_t kind = next(&state) % 4; /* 0: many zeros, 1: many extremes, else anything */
        for (size_t i = 0; i < size; ++i) {
            const uint32_t value = next(&state);
            const int plain = kind > 1 || value % 3 == 0;
            data[i] = plain ? (uint8_t)(value >> 8) : kind == 0 ? 0 : (uint8_t)(value & 0x800U ? 0xFF : 0x80);
        }
        LLVMFuzzerTestOneInput(data, size);
        free(data);
        ++runs;
    } while (time(NULL) < end);
    printf("Done %lu runs\n", runs);
    return 0;
}
