"""Trained networks for other programs: ONNX, OpenVINO, torch.export, TensorRT, safetensors, and model cards."""
