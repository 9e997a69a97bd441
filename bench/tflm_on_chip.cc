// Runs a deployment of target tflm on QEMU's board: instructions of one inference, and the smallest arena that is enough.
// Compiled by bench/tflm_on_chip.py in place of the project's selftest.cc.
#include <cstdio>
#include <cstring>

#include "contract.h"
#include "golden.h"
#include "model_data.h"
#include "network.h"
extern "C" {
#include "startup.h"
}

namespace {

EDGEDET_ARENA_ATTR alignas(16) uint8_t arena[EDGEDET_TENSOR_ARENA_BYTES];

bool Open(size_t bytes) {
  return edgedet_network_open(edgedet_model_data, edgedet_model_data_bytes, arena, bytes) == nullptr;
}

bool Run(uint64_t* ticks) {
  std::memcpy(edgedet_network_input(0), edgedet_golden_input, EDGEDET_GOLDEN_INPUT_BYTES);
  const uint64_t start = startup_ticks();
  if (edgedet_network_invoke() != nullptr) return false;
  *ticks = startup_ticks() - start;
  for (int i = 0; i < EDGEDET_GOLDEN_NUM_OUTPUTS; ++i) {
    const edgedet_golden_output& expected = edgedet_golden_outputs[i];
    if (std::memcmp(edgedet_network_output(edgedet_outputs[i].position), expected.data, expected.bytes) != 0) return false;
  }
  return true;
}

}  // namespace

int main() {
  uint64_t ticks = 0;
  if (!Open(sizeof arena) || !Run(&ticks)) return 1;
  std::printf("ticks %lu\n", static_cast<unsigned long>(ticks));
  std::printf("used %lu\n", static_cast<unsigned long>(edgedet_network_arena_used()));
  size_t refused = 0, taken = sizeof arena;
  while (taken - refused > 16) {
    const size_t middle = (refused + taken) / 32 * 16;
    if (Open(middle)) {
      taken = middle;
    } else {
      refused = middle;
    }
  }
  if (!Open(taken) || !Run(&ticks)) return 1; // the outputs are golden there, too
  std::printf("smallest %lu\n", static_cast<unsigned long>(taken));
  return 0;
}
