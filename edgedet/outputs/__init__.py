"""What every command writes: whole or not at all, by one process at a time, with one line when it can't be written."""
