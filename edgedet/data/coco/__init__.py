"""A data set as arrays: a checked split, how it is built from annotations, classes and data sets put together."""
