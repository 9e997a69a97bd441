"""A network on a board behind a serial line: the protocol, the line, and the session that survives their faults."""
