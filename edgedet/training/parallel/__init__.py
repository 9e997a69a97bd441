"""What a run computes on: devices, precision, several processes."""
