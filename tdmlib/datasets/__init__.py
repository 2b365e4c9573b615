"""Data sets, each as tensors with a fixed split."""
