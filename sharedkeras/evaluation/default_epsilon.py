"""The size of the ball where none is given."""

from sharedkeras.evaluation.paper_attacks import paper_epsilon


def default_epsilon(dataset, norm):
    """Returns the paper's bound for a dataset, which is one in Linf.

    Args:
        dataset: "mnist", "mnist-mini", "cifar10" or "cifar100".
        norm: str.

    Raises:
        ValueError: if the norm is another one, or the paper has no such dataset.
    """
    if norm != "linf":
        raise ValueError(
            "The paper's bounds are in Linf; for another norm `epsilon` must be given. "
            f"Received: norm={norm!r}, epsilon=None"
        )
    return paper_epsilon(dataset)
