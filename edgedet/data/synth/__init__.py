"""The synthetic mask / no_mask data set, drawn from a seed."""
