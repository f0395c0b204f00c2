"""What an exported file says about itself and asks of its images."""

import dataclasses
import hashlib
import json
import re

import numpy as np

from sharedkeras.files import parse_json

FORMAT = "sharedkeras export"
FORMAT_VERSION = 3
INPUT = "images"
OUTPUTS = ("logits", "probabilities")
DIGEST = "digest"
"""Key of the SHA-256 that ties the metadata to the weights, and so to itself."""

_CHANNELS = {1: "grey", 3: "RGB"}
_PLAIN_KEYS = ("format", "name", DIGEST)
_RANGE_SLACK = 1e-6  # float32 x + epsilon, clipped in float64, may stand one rounding outside [0, 1].


@dataclasses.dataclass(frozen=True)
class Contract:
    """The preprocessing contract, the classes and the origin of an exported network.

    It travels inside the file, so that whoever has the file alone knows how to feed it.

    Args:
        name: str, the network's name.
        input_shape: tuple `(H, W, C)` of ints.
        num_classes: int.
        class_names: tuple of `num_classes` strings, or None.
        versions: dict from tool to version string.

    Raises:
        ValueError: if the number of class names is not the number of logits.
    """

    name: str
    input_shape: tuple
    num_classes: int
    class_names: tuple | None = None
    versions: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        """Check the class names."""
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"`class_names` must have one name for each of the {self.num_classes} logits. "
                f"Received: class_names={list(self.class_names)}"
            )

    @property
    def channels(self):
        """The order of the channels in words: "grey", "RGB" or the number of channels."""
        count = self.input_shape[-1]
        return _CHANNELS.get(count, f"{count} channels")

    def check(self, images):
        """Check images against the contract.

        Args:
            images: `(batch, H, W, C)` float array in [0, 1].

        Returns:
            The same images as a float32 array.

        Raises:
            ValueError: if type, shape or range are not those of the contract.
        """
        images = np.asarray(images)
        if not np.issubdtype(images.dtype, np.floating):
            raise ValueError(
                "Images must be float32 in [0, 1]; 8-bit images are to be divided: "
                f"`images.astype('float32') / 255`. Received: dtype={images.dtype}"
            )
        if images.ndim != 4 or images.shape[1:] != self.input_shape:
            hint = "; add the batch axis with `images[None]`" if images.shape == self.input_shape else ""
            raise ValueError(
                f"Images must have the shape (batch, {', '.join(map(str, self.input_shape))}), "
                f"{self.channels}{hint}. Received: shape={images.shape}"
            )
        if len(images) == 0:
            raise ValueError(f"At least one image is needed. Received: shape={images.shape}")
        low, high = float(images.min()), float(images.max())
        # Written so that NaN fails too.
        if not (low >= -_RANGE_SLACK and high <= 1 + _RANGE_SLACK):
            hint = "; divide by 255" if 1 < high <= 255 and low >= 0 else ""
            raise ValueError(
                f"Images must lie in [0, 1]{hint}. Received: minimum={low:g}, maximum={high:g}"
            )
        return np.ascontiguousarray(images, dtype="float32")

    def to_dict(self):
        """Return what is written into the file, ready for JSON."""
        names = None if self.class_names is None else list(self.class_names)
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "input": {
                "name": INPUT,
                "shape": ["batch", *self.input_shape],
                "dtype": "float32",
            },
            "preprocessing": {
                "layout": "NHWC",
                "channels": self.channels,
                "range": [0.0, 1.0],
                "divide_uint8_by": 255,
            },
            "outputs": [{"name": n, "shape": ["batch", self.num_classes]} for n in OUTPUTS],
            "class_names": names,
            "versions": dict(self.versions),
        }

    @classmethod
    def from_dict(cls, values, source):
        """Read back what `to_dict` gave.

        Args:
            values: dict of `to_dict`.
            source: path of the file, for the messages.

        Returns:
            `Contract`.

        Raises:
            ValueError: if the values come from something else or another version, or are damaged.
        """
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError(
                "The file was not written by `export.onnx` or `export.saved_model`, and must be. "
                f"Received: path={str(source)!r}"
            )
        version = values.get("format_version")
        if type(version) is int and version != FORMAT_VERSION:
            age = "newer" if version > FORMAT_VERSION else "older"
            raise ValueError(
                f"The file must have format version {FORMAT_VERSION}, which this package reads; it has "
                f"{version}, which is {age}. Received: path={str(source)!r}"
            )
        try:
            return cls._checked(values)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            reason = f"{error} must be there" if isinstance(error, KeyError) else error
            raise ValueError(
                f"The metadata must be what the export wrote, and it is damaged: {reason}. "
                f"Received: path={str(source)!r}"
            ) from error

    @classmethod
    def _checked(cls, values):
        """Make a contract of values, all of which must be what `to_dict` gives for it."""
        names, shape = values["class_names"], values["input"]["shape"]
        logits = values["outputs"][0]["shape"]
        if not (names is None or (isinstance(names, list) and all(isinstance(n, str) for n in names))):
            raise ValueError(f"`class_names` must be a list of texts or null, not {names!r:.80}")
        sizes = [*shape[1:], *logits[1:]]
        if len(sizes) != 4 or not all(type(n) is int and n > 0 for n in sizes):
            raise ValueError(f"`shape` must hold whole numbers, not {sizes!r:.80}")
        if not isinstance(values["name"], str) or not isinstance(values["versions"], dict):
            raise ValueError("`name` must be a text and `versions` an object")
        found = cls(
            name=values["name"],
            input_shape=tuple(sizes[:3]),
            num_classes=sizes[3],
            class_names=None if names is None else tuple(names),
            versions=values["versions"],
        )
        for key, wanted in found.to_dict().items():
            if values[key] != wanted:
                raise ValueError(f"`{key}` must be {wanted!r:.200}, not {values[key]!r:.200}")
        if not re.fullmatch("[0-9a-f]{64}", values[DIGEST]):
            raise ValueError(f"`{DIGEST}` must be a SHA-256, not {values[DIGEST]!r:.80}")
        return found


def tied(digest, metadata):
    """Return the SHA-256 of a file together with what is said of it.

    Args:
        digest: str, of the file without its metadata.
        metadata: dict of `Contract.to_dict`; its own entry `digest` does not count.

    Returns:
        64 hexadecimal digits.
    """
    told = json.dumps({k: v for k, v in metadata.items() if k != DIGEST}, sort_keys=True)
    return hashlib.sha256(f"{digest}\0{told}".encode()).hexdigest()


def to_properties(values):
    """Turn the values of a contract into ONNX metadata, which maps strings to strings.

    Args:
        values: dict of `Contract.to_dict`.

    Returns:
        Dict from str to str; all but plain names is JSON.
    """
    return {k: v if k in _PLAIN_KEYS else json.dumps(v) for k, v in values.items()}


def from_properties(properties, source):
    """Undo `to_properties`; keys that others have added are left out.

    Args:
        properties: dict from str to str.
        source: path of the file, for the messages.

    Returns:
        Dict for `Contract.from_dict`, empty if the properties are not those of an export.

    Raises:
        ValueError: if a value is no JSON.
    """
    if properties.get("format") != FORMAT:
        return {}
    known = (*Contract("", (1, 1, 1), 1).to_dict(), DIGEST)
    return {
        k: v if k in _PLAIN_KEYS else _parsed(v, source) for k, v in properties.items() if k in known
    }


def _parsed(text, source):
    return parse_json(text, where=source, what="the metadata of an export", root=None)
