"""Names for the shapes of data that travel between the packages."""

from collections.abc import Callable, Mapping
from typing import Any

Tensor = Any
"""A tensor of the active Keras backend, or anything it converts to one."""

Views = Mapping[str, Tensor]
"""What the network sees in one training step: `{"clean": x, "adv": x_adv}`, each `(batch, H, W, C)`."""

Targets = Mapping[str, Tensor]
"""What a loss compares with: `{"label": (batch,)}`, sometimes `{"index": (batch,)}` beside it."""

Outputs = Mapping[str, Mapping[str, Tensor]]
"""What came out: for each view a mapping with `"logits"` and one entry for each tapped layer."""

LossFn = Callable[[Tensor, Tensor], Tensor]
"""`loss(y, logits) -> (batch,)`; attacks maximise it."""
