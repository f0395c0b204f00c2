"""The settings of the paper's Table 2, by dataset."""

_MNIST = {"epsilon": 0.3, "step_size": 0.01, "learning_rate": 0.003}
_CIFAR = {"epsilon": 0.031, "step_size": 0.003, "learning_rate": 0.01}
_SETTINGS = {"mnist": _MNIST, "mnist-mini": _MNIST, "cifar10": _CIFAR, "cifar100": _CIFAR}


def is_of_paper(dataset):
    """Tell whether the paper has settings for a dataset."""
    return dataset in _SETTINGS


def paper_settings(dataset):
    """Return the paper's settings for a dataset: `epsilon` and `step_size` in Linf, `learning_rate`.

    On MNIST epsilon is 0.3 (the table's 0.031 contradicts the text).

    Args:
        dataset: "mnist", "mnist-mini", "cifar10" or "cifar100".

    Raises:
        ValueError: if the paper has no such dataset.
    """
    if dataset not in _SETTINGS:
        raise ValueError(
            f"Unknown dataset; known are {sorted(_SETTINGS)}. Received: dataset={dataset!r}"
        )
    return _SETTINGS[dataset]


def paper_epsilon(dataset):
    """Return the Linf bound at which the paper judges networks on a dataset.

    Args:
        dataset: "mnist", "mnist-mini", "cifar10" or "cifar100".

    Raises:
        ValueError: if the paper has no such dataset.
    """
    return paper_settings(dataset)["epsilon"]


def default_epsilon(dataset, norm):
    """Return the paper's bound for a dataset, which is one in Linf.

    Args:
        dataset: "mnist", "mnist-mini", "cifar10" or "cifar100".
        norm: str.

    Raises:
        ValueError: if the norm is another one, or the paper has no such dataset.
    """
    if not is_of_paper(dataset):
        raise ValueError(
            "The paper has no bound for this dataset; `epsilon` (--epsilon) must be given. "
            f"Received: dataset={dataset!r}, epsilon=None"
        )
    if norm != "linf":
        raise ValueError(
            "The paper's bounds are in Linf; for another norm `epsilon` must be given. "
            f"Received: norm={norm!r}, epsilon=None"
        )
    return paper_epsilon(dataset)
