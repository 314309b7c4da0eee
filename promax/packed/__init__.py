"""The packed engine: an encoder's forward and backward pass near the speed of the processor.

`layout` says where the tokens of a batch lie, `noise` and `ops` are its own numerics, `anatomy` reads an
encoder, `forward` computes, `recording` repeats that on a GPU, `encode` embeds many texts. Everything
else is torch's, transformers' and PEFT's.
"""

from __future__ import annotations

from promax.packed.anatomy import reasons_against
from promax.packed.encode import encode
from promax.packed.forward import Packed
from promax.packed.layout import send
from promax.packed.noise import Noise
from promax.packed.precision import name_of, recorded_precision, resolve, speed_up
from promax.packed.recording import Recorded

__all__ = [
    "Noise",
    "Packed",
    "Recorded",
    "encode",
    "name_of",
    "reasons_against",
    "recorded_precision",
    "resolve",
    "send",
    "speed_up",
]
