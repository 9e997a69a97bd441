"""Training: assigner, losses, schedule, checkpoint, loop."""
