"""ONNX operators as nodes of a torch.fx graph, a module for each kind."""
