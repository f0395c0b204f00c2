"""What is known of a data set without reading it."""

import dataclasses

_DIGITS = tuple("0123456789")

_CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_CIFAR100_TEXT = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
    orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
    rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
    trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_CIFAR100 = tuple(_CIFAR100_TEXT.split())


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """The facts about a data set that a network or a report needs.

    Attributes:
        name: what `load` knows it by.
        input_shape: `(H, W, C)` of an image.
        num_classes: int, the number K of labels.
        label_names: tuple of K strings, in the order of the labels.
    """

    name: str
    input_shape: tuple[int, int, int]
    num_classes: int
    label_names: tuple[str, ...]


_KNOWN = {
    name: DatasetInfo(name, input_shape, len(label_names), label_names)
    for name, input_shape, label_names in (
        ("mnist-mini", (28, 28, 1), _DIGITS),
        ("mnist", (28, 28, 1), _DIGITS),
        ("cifar10", (32, 32, 3), _CIFAR10),
        ("cifar100", (32, 32, 3), _CIFAR100),
    )
}


def names():
    """List the data sets that `load` knows by name.

    Returns:
        List of strings.
    """
    return list(_KNOWN)


def info(name):
    """Look up a data set's image shape and labels, reading nothing.

    So a network can be built, and a flag be checked, before any data is there.

    Args:
        name: one of `names()`. An `.npz` file is known only once it is loaded.

    Returns:
        `DatasetInfo`.

    Raises:
        ValueError: if the name is not known.
    """
    if not isinstance(name, str) or name not in _KNOWN:
        raise ValueError(
            f"Unknown data set. Expected one of {names()}, or (to `load`) a path ending in '.npz'. "
            f"Received: name={name!r}"
        )
    return _KNOWN[name]
