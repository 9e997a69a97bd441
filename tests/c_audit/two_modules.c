/* Modules `faces` and `cells` in one image, in turns: with an arena each, then with one arena for both. */
#include <string.h>

#include "cells_golden.h"
#include "cells_run.h"
#include "faces_golden.h"
#include "faces_run.h"
#ifdef ON_CHIP
#include "semihosting.h"
#define PRINT(text) semihosting_print(text)
#else
#include <stdio.h>
#define PRINT(text) puts(text)
#endif

#define ROUNDS 2
#ifndef SAME_MODEL
#define SAME_MODEL 0
#endif
#define SHARED_BYTES (FACES_ARENA_BYTES > CELLS_ARENA_BYTES ? FACES_ARENA_BYTES : CELLS_ARENA_BYTES)

FACES_DEFINE_ARENA(faces_arena);
CELLS_DEFINE_ARENA(cells_arena);
static FACES_ARENA_ATTR EDK_ALIGN(16) int8_t shared[SHARED_BYTES];

/* Runs a module on its golden input; then its outputs and detections must be the golden ones. */
#define DEFINE_CHECK(NAME, name)                                                                                     \
    static int start_##name(int8_t *arena)                                                                           \
    {                                                                                                                \
        memcpy(name##_input_at(arena, 0), name##_golden_inputs[0], name##_model_inputs[0].bytes);                    \
        return name##_invoke(NAME##_INPUTS_IN(arena), arena, NAME##_ARENA_BYTES) == EDK_OK;                          \
    }                                                                                                                \
    static int check_##name(int8_t *arena)                                                                           \
    {                                                                                                                \
        static edk_detection found[128];                                                                             \
        int32_t count = -1;                                                                                          \
        for (int i = 0; i < NAME##_MODEL_OUTPUTS; i++) {                                                             \
            if (memcmp(name##_output_at(arena, i), name##_golden_outputs[i], name##_model_outputs[i].bytes) != 0) {  \
                return 0;                                                                                            \
            }                                                                                                        \
        }                                                                                                            \
        return name##_detect(arena, NAME##_ARENA_BYTES, found, 128, &count) == EDK_OK &&                             \
               count == NAME##_GOLDEN_DETECTIONS;                                                                    \
    }

DEFINE_CHECK(FACES, faces)
DEFINE_CHECK(CELLS, cells)

int main(void)
{
    int good = strlen(faces_model_sha256) == 64 && strlen(cells_model_sha256) == 64 &&
               (strcmp(faces_model_sha256, cells_model_sha256) == 0) == SAME_MODEL && strcmp(faces_version, cells_version) == 0;
    for (int round = 0; round < ROUNDS; round++) {
        good = good && start_faces(faces_arena) && start_cells(cells_arena); /* both outputs stay */
        good = good && check_faces(faces_arena) && check_cells(cells_arena);
        good = good && start_faces(shared) && check_faces(shared) && start_cells(shared) && check_cells(shared);
    }
    PRINT(good ? "PASS" : "FAIL");
    return good ? 0 : 1;
}
