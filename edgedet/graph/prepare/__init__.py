"""From the file of any maker to the graph that runs: shapes folded, uint8 made int8."""
