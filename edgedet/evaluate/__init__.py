"""Interpreters behind one small protocol, COCO AP, pictures of detections; runs without torch."""
