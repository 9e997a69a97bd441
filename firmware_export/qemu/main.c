/* Runs the generated network on every input of input.bin.
 *
 * input.bin    the inputs of each image, one after the other, without a header
 * output.bin   the outputs of each image in the order of edgedet_model_outputs
 * ticks.bin    uint64 for each image: ticks of edgedet_invoke(), then of every step; with EDGEDET_HAS_RUN the last step
 *              is edgedet_detect()
 *
 * Exit status: 0; 1 a file; 2 edgedet_invoke() or edgedet_detect().
 */
#include <string.h>

#include "model.h"
#ifdef EDGEDET_HAS_RUN
#include "run.h"
#endif
#include "semihosting.h"
#include "startup.h"

__attribute__((section(".arena"))) EDK_ALIGN(EDGEDET_ARENA_ALIGNMENT) static int8_t arena[EDGEDET_ARENA_BYTES];
static uint64_t ticks[1 + EDGEDET_MODEL_STEPS];
static uint64_t last_tick;

void edgedet_on_step(unsigned step);

void edgedet_on_step(unsigned step)
{
    const uint64_t now = startup_ticks();
    ticks[1 + step] = now - last_tick;
    last_tick = now;
}

static int fail(int status, const char *text)
{
    semihosting_print(text);
    return status;
}

static edk_status invoke(void)
{
    const uint64_t start = startup_ticks();
    last_tick = start;
    const edk_status status = edgedet_invoke(EDGEDET_INPUTS_IN(arena), arena, sizeof arena);
    ticks[0] = startup_ticks() - start;
    return status;
}

#ifdef EDGEDET_HAS_RUN
static edk_status detect(void)
{
    static edk_detection found[100];
    int32_t count = 0;
    const uint64_t start = startup_ticks();
    const edk_status status = edgedet_detect(arena, sizeof arena, found, 100, &count);
    ticks[EDGEDET_MODEL_STEPS] = startup_ticks() - start;
    return status;
}
#else
static edk_status detect(void)
{
    return EDK_OK;
}
#endif

int main(void)
{
    const int input = semihosting_open("input.bin", 0);
    const int output = semihosting_open("output.bin", 1);
    const int times = semihosting_open("ticks.bin", 1);
    if (input < 0 || output < 0 || times < 0) {
        return fail(1, "input.bin, output.bin or ticks.bin can't be opened");
    }
    long image_bytes = 0;
    for (int i = 0; i < EDGEDET_MODEL_INPUTS; i++) {
        image_bytes += (long)edgedet_model_inputs[i].bytes;
    }
    const long images = semihosting_length(input) / image_bytes;
    for (long image = 0; image < images; image++) {
        memset(ticks, 0, sizeof ticks);
        for (int i = 0; i < EDGEDET_MODEL_INPUTS; i++) {
            if (!semihosting_read(input, edgedet_input_at(arena, i), edgedet_model_inputs[i].bytes)) {
                return fail(1, "input.bin ends early");
            }
        }
        edk_status status = invoke();
        if (status != EDK_OK) {
            return fail(2, edk_status_text(status));
        }
        for (int i = 0; i < EDGEDET_MODEL_OUTPUTS; i++) {
            if (!semihosting_write(output, edgedet_output_at(arena, i), edgedet_model_outputs[i].bytes)) {
                return fail(1, "output.bin can't be written");
            }
        }
        status = detect();
        if (status != EDK_OK) {
            return fail(2, edk_status_text(status));
        }
        if (!semihosting_write(times, ticks, sizeof ticks)) {
            return fail(1, "ticks.bin can't be written");
        }
    }
    semihosting_close(output);
    semihosting_close(times);
    return 0;
}
