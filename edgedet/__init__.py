"""edgedet: an object detector from COCO images to int8 code on a microcontroller, with nothing lost on the way.

Importing the package is cheap: no torch, no TensorFlow. Import the submodule that does the work.
"""

__version__ = "0.1.0"
