"""report.html: what a run folder holds, read into dataclasses, judged, and laid out on one page."""
