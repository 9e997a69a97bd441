"""The int8 graph: dataclasses mirroring TFLite, FX -> graph, graph <-> flatbuffer."""
