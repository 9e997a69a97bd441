"""Files for other makers' tools: one module a format, each checked on a picture before the file is kept."""
