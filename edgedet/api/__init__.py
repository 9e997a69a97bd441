"""What `import edgedet` offers: a model, a data set, detections; everything that the command line does, from Python."""
