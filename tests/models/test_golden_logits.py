"""Networks with the reference's weights give the reference's logits."""

import numpy as np
import pytest
from keras import ops
from support.golden import M1, M2, clean_logits, images

from sharedkeras.models import FrozenClassifier


@pytest.mark.numeric
@pytest.mark.parametrize(("name", "build"), [("M1", M1), ("M2", M2)])
def test_logits(name, build):
    x, _ = images(name)
    logits = ops.convert_to_numpy(FrozenClassifier(build()).predict(x))
    assert np.abs(logits - clean_logits(name)).max() <= 1e-4
