"""The figures of a detector: COCO AP, hits and misses, false alarms, the operating point, and what they say."""
