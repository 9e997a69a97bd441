"""The commands of `edgedet`, one module a group: options, one call of the package, what is printed."""
