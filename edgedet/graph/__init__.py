"""The int8 graph: dataclasses that mirror TFLite, flatbuffer reader and writer, contracts, operator semantics."""
