// Opens a network of target tflm in every wrong way and prints the sentence of each, then in the right way. NAME of the module: tiny.
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "tiny_model_data.h"
#include "tiny_network.h"

namespace {

constexpr std::size_t kBytes = TINY_MODEL_BYTES;
alignas(16) unsigned char copy[kBytes + 16];
alignas(16) unsigned char arena[TINY_TENSOR_ARENA_BYTES + 16];

void Try(const char* what, const void* model, std::size_t model_bytes, void* memory, std::size_t memory_bytes) {
  const char* wrong = tiny_network_open(model, model_bytes, memory, memory_bytes);
  std::printf("%s: %s\n", what, wrong == nullptr ? "open" : wrong);
  if (wrong != nullptr && (tiny_network_input(0) != nullptr || tiny_network_output(0) != nullptr)) std::puts("half open");
}

void TryChanged(const char* what, std::size_t first, std::size_t bytes, int value) {
  std::memcpy(copy, tiny_model_data, kBytes);
  std::memset(copy + first, value, bytes);
  Try(what, copy, kBytes, arena, sizeof arena);
}

}  // namespace

int main() {
  std::printf("before: %s\n", tiny_network_invoke());
  Try("model NULL", nullptr, kBytes, arena, sizeof arena);
  std::memcpy(copy + 4, tiny_model_data, kBytes);
  Try("model misaligned", copy + 4, kBytes, arena, sizeof arena);
  Try("model truncated", tiny_model_data, kBytes - 1000, arena, sizeof arena);
  TryChanged("model erased", 0, kBytes, 0xff);
  TryChanged("end erased", kBytes - 1000, 1000, 0xff);
  Try("arena NULL", tiny_model_data, kBytes, nullptr, sizeof arena);
  Try("arena misaligned", tiny_model_data, kBytes, arena + 8, TINY_TENSOR_ARENA_BYTES);
  Try("arena tiny", tiny_model_data, kBytes, arena, 100);
  Try("right", tiny_model_data, kBytes, arena, sizeof arena);
  const std::size_t used = (tiny_network_arena_used() + 15) / 16 * 16;
  Try("arena 1 KiB short", tiny_model_data, kBytes, arena, used - 1024);
  Try("again", tiny_model_data, kBytes, arena, TINY_TENSOR_ARENA_BYTES);
  std::printf("index: %d\n", tiny_network_input(1) == nullptr && tiny_network_input(-1) == nullptr && tiny_network_output(99) == nullptr);
  return tiny_network_invoke() == nullptr ? 0 : 1;
}
