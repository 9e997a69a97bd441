"""What is in a data set, what is wrong with it, and what is left to learn and to judge."""
