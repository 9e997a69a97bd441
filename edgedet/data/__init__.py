"""Torch-free data handling: COCO reading and checking, the one preprocessing, augmentation, the synthetic data set."""
