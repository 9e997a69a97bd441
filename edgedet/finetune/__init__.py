"""Training after the training: quantization-aware, distillation, substitution of activations."""
