// Module `tiny` of target tflm and module `other` of target c99, of the same model, in one image and in turns.
#include <cstdio>
#include <cstring>

#include "other_golden.h"
#include "other_run.h"
#include "tiny_contract.h"
#include "tiny_golden.h"
#include "tiny_model_data.h"
#include "tiny_network.h"

alignas(16) static unsigned char tiny_arena[TINY_TENSOR_ARENA_BYTES];
OTHER_DEFINE_ARENA(other_arena);

static bool StartTiny() {
  std::memcpy(tiny_network_input(0), tiny_golden_input, TINY_GOLDEN_INPUT_BYTES);
  return tiny_network_invoke() == nullptr;
}

static bool StartOther() {
  std::memcpy(other_input_at(other_arena, 0), other_golden_inputs[0], other_model_inputs[0].bytes);
  return other_invoke(OTHER_INPUTS_IN(other_arena), other_arena, sizeof other_arena) == EDK_OK;
}

static bool Check() {
  bool good = true;
  for (int i = 0; i < TINY_GOLDEN_NUM_OUTPUTS; ++i) {
    const void* found = tiny_network_output(tiny_outputs[i].position);
    good = good && std::memcmp(found, tiny_golden_outputs[i].data, tiny_golden_outputs[i].bytes) == 0;
    good = good && std::memcmp(found, other_output_at(other_arena, i), other_model_outputs[i].bytes) == 0;
    good = good && std::memcmp(found, other_golden_outputs[i], other_model_outputs[i].bytes) == 0;
  }
  return good;
}

int main() {
  const char* wrong = tiny_network_open(tiny_model_data, tiny_model_data_bytes, tiny_arena, sizeof tiny_arena);
  bool good = wrong == nullptr && std::strcmp(tiny_model_sha256, other_model_sha256) == 0;
  for (int round = 0; good && round < 2; ++round) {
    good = StartTiny() && StartOther() && Check();
    std::memset(tiny_network_input(0), 0, TINY_GOLDEN_INPUT_BYTES);
  }
  std::puts(good ? "PASS" : "FAIL");
  return good ? 0 : 1;
}
