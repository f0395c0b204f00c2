"""The choice among several outputs of a network."""

import numbers


def pick(outputs, select):
    """Choose the output that is to be attacked.

    Args:
        outputs: what a network returns: a tensor, or a dict or list of tensors.
        select: str or int, which of several; None where there is one.

    Returns:
        Tensor.

    Raises:
        ValueError: if there are several and `select` names none of them.
    """
    if isinstance(outputs, dict):
        if len(outputs) == 1 and select is None:
            return next(iter(outputs.values()))
        if select not in outputs:
            raise ValueError(
                f"The network has the outputs {sorted(outputs)}; `select` must name one. "
                f"Received: select={select!r}"
            )
        return outputs[select]
    if isinstance(outputs, list | tuple):
        if len(outputs) == 1 and select is None:
            return outputs[0]
        if not isinstance(select, numbers.Integral) or not -len(outputs) <= select < len(outputs):
            raise ValueError(
                f"The network has {len(outputs)} outputs; `select` must be the number of one. "
                f"Received: select={select!r}"
            )
        return outputs[select]
    return outputs
