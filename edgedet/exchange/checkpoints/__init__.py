"""Checkpoints of MMDetection, MMYOLO and SSCMA: read without running anything of them, and turned into edgedet's."""
