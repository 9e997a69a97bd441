"""The bytes of a `.tflite`: reading and writing, with everything that edgedet only carries on."""
