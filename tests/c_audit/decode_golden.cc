// Decodes the golden outputs of target tflm and compares every bit of the golden detections; no TFLite Micro. NAME: tiny.
#include <cstdio>
#include <cstring>

#include "tiny_contract.h"
#include "tiny_detect.h"
#include "tiny_golden.h"

alignas(TINY_SCRATCH_ALIGNMENT) static unsigned char scratch[TINY_SCRATCH_BYTES];

int main() {
  static edk_detection found[TINY_MAX_DETECTIONS];
  const int8_t* outputs[TINY_NUM_OUTPUTS];
  int32_t count = -1;
  for (int i = 0; i < TINY_NUM_OUTPUTS; ++i) outputs[i] = tiny_golden_outputs[i].data;
  edk_status status = tiny_decode(outputs, scratch, sizeof scratch, found, TINY_MAX_DETECTIONS, &count);
  bool good = status == EDK_OK && count == TINY_GOLDEN_DETECTIONS && count > 0;
  for (int32_t i = 0; good && i < count; ++i) {
    const tiny_golden_detection& expected = tiny_golden_detections[i];
    good = std::memcmp(found[i].box, expected.box, sizeof expected.box) == 0 && found[i].label == expected.label &&
           std::memcmp(&found[i].score, &expected.score, sizeof expected.score) == 0;
  }
  status = tiny_decode(outputs, scratch + 1, sizeof scratch - 1, found, TINY_MAX_DETECTIONS, &count);
  good = good && status == EDK_ERROR_ALIGNMENT;
  status = tiny_decode(outputs, scratch, 1, found, TINY_MAX_DETECTIONS, &count);
  good = good && status == EDK_ERROR_SCRATCH && tiny_decode(nullptr, scratch, 1, found, 1, &count) == EDK_ERROR_NULL;
  std::puts(good ? "PASS" : "FAIL");
  return good ? 0 : 1;
}
