"""The data sets that have a name of their own here."""

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
        name: what `load` knows it by: a name, or a path as a string.
        input_shape: `(H, W, C)` of an image.
        num_classes: int, the number K of labels.
        label_names: tuple of K strings, in the order of the labels.
    """

    name: str
    input_shape: tuple[int, int, int]
    num_classes: int
    label_names: tuple[str, ...]


KNOWN = {
    name: DatasetInfo(name, input_shape, len(label_names), label_names)
    for name, input_shape, label_names in (
        ("mnist-mini", (28, 28, 1), _DIGITS),
        ("mnist", (28, 28, 1), _DIGITS),
        ("cifar10", (32, 32, 3), _CIFAR10),
        ("cifar100", (32, 32, 3), _CIFAR100),
    )
}
