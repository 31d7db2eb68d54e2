"""From trained or random float weights to the integer network. Numpy only; no Keras."""

from sw.quantize.value_path import QuantizedValuePath, ValuePath, fake_quantize, quantize_value_path

__all__ = ["QuantizedValuePath", "ValuePath", "fake_quantize", "quantize_value_path"]
