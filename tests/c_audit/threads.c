/* Two threads, each with an arena of its own, run the golden input again and again: the outputs stay the golden ones. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "model.h"
#ifdef HAS_RUN
#include "run.h"
#endif

#define THREADS 2
#define ROUNDS 5

EDGEDET_DEFINE_ARENA(first);
EDGEDET_DEFINE_ARENA(second);
static int8_t *const arenas[THREADS] = {first, second};

static int is_golden(const int8_t *arena)
{
    for (int i = 0; i < EDGEDET_MODEL_OUTPUTS; ++i) {
        if (memcmp(edgedet_output_at(arena, i), edgedet_golden_outputs[i], edgedet_model_outputs[i].bytes) != 0) {
            return 0;
        }
    }
    return 1;
}

static void *work(void *memory)
{
    int8_t *const arena = memory;
    for (int round = 0; round < ROUNDS; ++round) {
        for (int i = 0; i < EDGEDET_MODEL_INPUTS; ++i) {
            memcpy(edgedet_input_at(arena, i), edgedet_golden_inputs[i], edgedet_model_inputs[i].bytes);
        }
        if (edgedet_invoke(EDGEDET_INPUTS_IN(arena), arena, EDGEDET_ARENA_BYTES) != EDK_OK || !is_golden(arena)) {
            return NULL;
        }
#ifdef HAS_RUN
        static const uint8_t pixels[16 * 16 * 3];
        const edk_image image = {pixels, 16, 16, 48, HAS_RUN == 1 ? EDK_PIXELS_GRAY8 : EDK_PIXELS_RGB888};
        edk_detection found[8];
        int32_t count;
        if (edgedet_run(&image, arena, EDGEDET_ARENA_BYTES, found, 8, &count) != EDK_OK) {
            return NULL;
        }
#endif
    }
    return memory;
}

int main(void)
{
    pthread_t threads[THREADS];
    int good = 1;
    for (int i = 0; i < THREADS; ++i) {
        if (pthread_create(&threads[i], NULL, work, arenas[i]) != 0) {
            return 2;
        }
    }
    for (int i = 0; i < THREADS; ++i) {
        void *result = NULL;
        good &= pthread_join(threads[i], &result) == 0 && result != NULL;
    }
    puts(good ? "PASS" : "FAIL");
    return good ? 0 : 1;
}
