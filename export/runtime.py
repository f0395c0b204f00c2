"""Runs ONNX files and SavedModels without Keras: exported ones, and classifiers of other origin."""

import hashlib
import numbers
import pathlib
from typing import NamedTuple

import numpy as np

from export.contract import DIGEST, INPUT, OUTPUTS, Contract, from_properties, tied
from export.onnx_file import UNREADABLE, check_onnx_file, digest_of
from export.requirements import require
from export.saved_model_file import check_saved_model
from export.softmax import softmax
from sharedkeras.files import read_json

METADATA_FILE = "assets.extra/sharedkeras.json"
"""Where a SavedModel keeps its metadata; TensorFlow reserves the folder for its users."""
_LARGEST_METADATA = 2**24


class _Value(NamedTuple):
    """An input or an output of a file; a size that is left open is None or a name."""

    name: str
    shape: tuple | None
    dtype: str

    def __str__(self):
        return f"{self.name} {self.dtype} {'of any shape' if self.shape is None else self.shape}"


class _Served:
    """What the two kinds of file have in common: the contract, batching, class names."""

    def __init__(self, path, metadata, batch_size, input_shape):
        if not isinstance(batch_size, numbers.Integral) or batch_size < 1:
            raise ValueError(
                f"`batch_size` must be an int of at least 1. Received: batch_size={batch_size}"
            )
        self.path, batch_size = pathlib.Path(path), int(batch_size)
        self.metadata = metadata
        self.batch_size = batch_size
        self._foreign = None
        if not metadata and input_shape is None:
            raise ValueError(
                "The file was not written by `export.onnx` or `export.saved_model`, so that it does not "
                "tell the shape of its images; `input_shape` must be given, which applications take "
                f"from --dataset. Received: path={str(path)!r}"
            )
        if not metadata:
            input_shape = tuple(input_shape)
            if len(input_shape) != 3 or not all(
                isinstance(n, numbers.Integral) and n > 0 for n in input_shape
            ):
                raise ValueError(
                    "`input_shape` must be (height, width, channels). "
                    f"Received: input_shape={input_shape}"
                )
            self._foreign = _Foreign(*self._signature(), tuple(map(int, input_shape)), path)
            self.batch_size = self._foreign.batch or batch_size
            self.contract = self._foreign.contract(self._compute)
            return
        self.contract = Contract.from_dict(metadata, path)
        self._check_contract()
        if input_shape is not None and tuple(input_shape) != self.input_shape:
            raise ValueError(
                f"The file takes images of shape {self.input_shape}. "
                f"Received: input_shape={tuple(input_shape)}, path={str(path)!r}"
            )

    def _check_contract(self):
        """Check that the metadata is that of this file."""
        if tied(self._digest(), self.metadata) != self.metadata[DIGEST]:
            raise ValueError(
                "The file must be as it was exported, and it was changed after its metadata was written "
                "or with it, which so may be that of other weights; export the network again. "
                f"Received: path={str(self.path)!r}"
            )
        k = self.contract.num_classes
        wanted = [(INPUT, self.input_shape, "float32"), *((name, (k,), "float32") for name in OUTPUTS)]
        inputs, outputs = self._signature()
        found = [*inputs, *sorted(outputs, key=lambda v: v.name)]
        fits = [v.name for v in found] == [name for name, *_ in wanted] and all(
            v.dtype == dtype and _may_be(v, (None, *sizes))
            for v, (_, sizes, dtype) in zip(found, wanted, strict=True)
        )
        if not fits:
            told = ", ".join(
                f"{name} {dtype} (batch, {str(sizes)[1:-1]})" for name, sizes, dtype in wanted
            )
            raise ValueError(
                f"The file must have the tensors that its metadata promises, {told}; it has "
                f"{', '.join(map(str, found))}. "
                f"Received: path={str(self.path)!r}"
            )

    def __repr__(self):
        return f"{type(self).__name__}({str(self.path)!r}, input_shape={self.input_shape})"

    @property
    def name(self):
        """The network's name; of a file of other origin the file's."""
        return self.contract.name

    @property
    def sha256(self):
        """The hexadecimal SHA-256 of all that is loaded: the file, those it names, or its directory."""
        if not self.path.is_file():
            return _digest_of_files(self.path, [p for p in self.path.rglob("*") if p.is_file()])
        digest = hashlib.sha256(self.path.read_bytes())
        if self._external:
            digest.update(_digest_of_files(self.path.parent, self._external).encode())
        return digest.hexdigest()

    @property
    def input_shape(self):
        """The shape `(H, W, C)` of an image."""
        return self.contract.input_shape

    @property
    def class_names(self):
        """Tuple of class names; "0", "1", ... where the file has none."""
        return self.contract.class_names or tuple(map(str, range(self.contract.num_classes)))

    def __call__(self, images):
        """Compute the logits.

        Args:
            images: `(batch, H, W, C)` float array in [0, 1].

        Returns:
            `(batch, K)` float32 array.

        Raises:
            ValueError: if type, shape or range of the images are wrong.
        """
        return self.run(images)[0]

    def probabilities(self, images):
        """Compute the softmax of the logits.

        Args:
            images: `(batch, H, W, C)` float array in [0, 1].

        Returns:
            `(batch, K)` float32 array in [0, 1].
        """
        return self.run(images)[1]

    def predict(self, images):
        """Name the most probable class of every image.

        Args:
            images: `(batch, H, W, C)` float array in [0, 1].

        Returns:
            List of `(class name, probability)`, one pair per image.
        """
        probabilities = self.probabilities(images)
        best = probabilities.argmax(axis=-1)
        return [(self.class_names[k], float(p[k])) for k, p in zip(best, probabilities, strict=True)]

    def run(self, images):
        """Compute both outputs of the file, in batches of `batch_size`.

        Args:
            images: `(batch, H, W, C)` float array in [0, 1].

        Returns:
            `(logits, probabilities)`, each a `(batch, K)` float32 array.
        """
        images = self.contract.check(images)
        parts = [
            self._run_batch(images[i : i + self.batch_size])
            for i in range(0, len(images), self.batch_size)
        ]
        logits, probabilities = (np.concatenate(p) for p in zip(*parts, strict=True))
        return logits, probabilities

    def _run_batch(self, images):
        if self._foreign is not None:
            logits = self._foreign.logits(self._compute, images)
            return logits, softmax(logits)
        logits, probabilities = self._compute(INPUT, images, OUTPUTS)
        wanted = (len(images), self.contract.num_classes)
        if not logits.shape == probabilities.shape == wanted:
            raise ValueError(
                f"The file gives logits of shape {logits.shape} where its metadata promises {wanted}. "
                f"Received: path={str(self.path)!r}"
            )
        return logits, probabilities

    def _digest(self):
        """Return the SHA-256 of all but the metadata."""
        raise NotImplementedError

    def _signature(self):
        """Return lists of the file's inputs and outputs, each a `_Value`."""
        raise NotImplementedError

    def _compute(self, name, images, outputs):
        """Return the arrays of the named outputs for images given to the input of that name."""
        raise NotImplementedError


def _digest_of_files(folder, files):
    """Return the SHA-256 of files and of their names in a folder."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def saved_model_digest(path):
    """Return the SHA-256 of all files of a SavedModel but its metadata.

    Args:
        path: `pathlib.Path` of the directory.
    """
    files = [p for p in path.rglob("*") if p.is_file() and p != path / METADATA_FILE]
    return _digest_of_files(path, files)


class _Foreign:
    """How to run an image classifier that this package did not write: its input, layout and logits."""

    def __init__(self, inputs, outputs, input_shape, path):
        self.path, self.input_shape = pathlib.Path(path), input_shape
        named = ", ".join(map(str, inputs)), ", ".join(map(str, outputs))
        given = "Received: path={!r} with the inputs {} and the outputs {}".format(str(path), *named)
        floats = [v for v in outputs if v.dtype.startswith("float")]
        # The outputs of a SavedModel have names and no order.
        floats.sort(key=lambda v: v.name != OUTPUTS[0])
        if len(inputs) != 1 or inputs[0].dtype != "float32":
            raise ValueError(f"The file must take one float32 tensor of images. {given}")
        if not floats or not _may_be(floats[0], (None, None)):
            raise ValueError(
                f"An output named {OUTPUTS[0]!r}, else the first of floats, must be logits of shape "
                f"(batch, K). {given}"
            )
        self.input, self.output = inputs[0], floats[0]
        height, width, channels = input_shape
        # Whichever axis holds the channels, it is images (batch, H, W, C) in [0, 1] that go in here.
        self.channels_first = not _may_be(self.input, (None, height, width, channels))
        if self.channels_first and not _may_be(self.input, (None, channels, height, width)):
            raise ValueError(f"The file takes other images than those of shape {input_shape}. {given}")
        size = self.input.shape[0] if self.input.shape else None
        self.batch = size if isinstance(size, int) else None

    def contract(self, compute):
        """Find the number of classes by running an image, which shows as well whether the file runs."""
        try:
            # Two, since a batch of one may have been frozen into a graph that leaves its size open.
            probe = self.logits(compute, np.zeros((self.batch or 2, *self.input_shape), "float32"))
        except Exception as error:  # Every runtime has its own.
            raise ValueError(f"The file cannot be run: {error}\nReceived: path={self.path}") from error
        return Contract(self.path.stem, self.input_shape, probe.shape[1])

    def logits(self, compute, images):
        """Compute the logits, `(batch, K)` float32."""
        count = len(images)
        if self.batch is not None:
            images = np.resize(images, (self.batch, *self.input_shape))
        if self.channels_first:
            images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        logits = np.asarray(compute(self.input.name, images, [self.output.name])[0], "float32")
        if logits.shape[:-1] != (len(images),):
            raise ValueError(
                f"Its output {self.output.name!r} has the shape {logits.shape} for {len(images)} "
                f"images. Received: path={str(self.path)!r}"
            )
        return logits[:count]


def _may_be(value, shape):
    """Tell whether a declared shape, open sizes left aside, can be this one; None is any size."""
    if value.shape is None:
        return True
    if len(value.shape) != len(shape):
        return False
    pairs = zip(value.shape, shape, strict=True)
    return all(not isinstance(a, int) or b is None or a == b for a, b in pairs)


class Runtime(_Served):
    """An ONNX file as a function from NumPy images to logits.

    It needs onnxruntime and NumPy, neither Keras nor TensorFlow, and starts in a fraction of a second.
    Black-box attacks accept it in place of a network.

    Args:
        path: path of a file that `export.onnx` wrote, or with `input_shape` of any image classifier.
        batch_size: int, images that are run at a time.
        threads: int, threads inside an operation, or None for onnxruntime's choice.
        input_shape: as for `load_onnx`.
        trust: as for `load_onnx`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, was not written by `export.onnx` and no `input_shape` is
            given, or is no classifier of such images.
    """

    def __init__(self, path, *, batch_size=256, threads=None, input_shape=None, trust=False):
        import onnxruntime  # Late: the SavedModel's side of this module does without.

        if not pathlib.Path(path).is_file():
            raise FileNotFoundError(
                f"There is no such ONNX file; expected the path of one. Received: path={str(path)!r}"
            )
        self._external = check_onnx_file(pathlib.Path(path), trust=trust)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # Errors; its warnings speak of optimisations not made.
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            properties = self._session.get_modelmeta().custom_metadata_map
            self._signature()  # Names that are no text are found when they are read.
        except Exception as error:  # It has a class of its own for each way a file can be wrong.
            raise ValueError(f"{UNREADABLE}: {error}. Received: path={str(path)!r}") from error
        super().__init__(path, from_properties(properties, path), batch_size, input_shape)

    def _signature(self):
        def values(nodes):
            return [_Value(n.name, tuple(n.shape) or None, _onnx_dtype(n.type)) for n in nodes]

        return values(self._session.get_inputs()), values(self._session.get_outputs())

    def _digest(self):
        return digest_of(self.path.read_bytes())

    def _compute(self, name, images, outputs):
        return self._session.run(list(outputs), {name: images})


def _onnx_dtype(text):
    names = {"tensor(float)": "float32", "tensor(double)": "float64"}
    return names.get(text, text.removeprefix("tensor(").removesuffix(")"))


class SavedModelRuntime(_Served):
    """A SavedModel as a function from NumPy images to logits; made by `load_saved_model`.

    Args:
        path: path of a directory that `export.saved_model` wrote, or with `input_shape` of any image
            classifier with a signature `serving_default`.
        batch_size: int, images that are run at a time.
        input_shape: as for `load_saved_model`.
        trust: as for `load_saved_model`.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ImportError: if TensorFlow is not installed.
        ValueError: if the directory is damaged, was not written by `export.saved_model` and no
            `input_shape` is given, or is no classifier of such images.
    """

    def __init__(self, path, *, batch_size=256, input_shape=None, trust=False):
        path = pathlib.Path(path)
        if not (path / "saved_model.pb").is_file():
            raise FileNotFoundError(
                f"There is no SavedModel; expected the directory of one. Received: path={str(path)!r}"
            )
        values = _read_metadata(path / METADATA_FILE)
        require("tensorflow", "Loading a SavedModel")
        if not trust:
            check_saved_model(path)
        import tensorflow as tf  # Late: the ONNX side of this module does without.

        self._to_tensor = tf.constant
        if values or input_shape is not None:
            try:
                self._loaded = tf.saved_model.load(str(path))  # Owns what the signature reads.
                self._served = self._loaded.signatures["serving_default"]
            except Exception as error:  # TensorFlow raises whatever a damaged graph makes it.
                raise ValueError(
                    f"The SavedModel cannot be read; expected a whole one: {error}. "
                    f"Received: path={str(path)!r}"
                ) from error
        super().__init__(path, values, batch_size, input_shape)

    def _signature(self):
        def values(specs):
            return [
                _Value(name, None if s.shape.rank is None else tuple(s.shape), s.dtype.name)
                for name, s in specs.items()
            ]

        inputs = values(self._served.structured_input_signature[1])
        return inputs, values(self._served.structured_outputs)

    def _digest(self):
        return saved_model_digest(self.path)

    def _compute(self, name, images, outputs):
        found = self._served(**{name: self._to_tensor(images)})
        return tuple(found[output].numpy() for output in outputs)


def _read_metadata(path):
    if not path.is_file():
        return {}
    values = read_json(path, what="the metadata of an export", max_bytes=_LARGEST_METADATA)
    if not values:
        raise ValueError(
            "The metadata of the SavedModel must be an object, and is empty. "
            f"Received: path={str(path)!r}"
        )
    return values


def load_onnx(path, *, batch_size=256, threads=None, input_shape=None, trust=False):
    """Load an ONNX file: an exported one, or any image classifier.

    Args:
        path: path of a file that `export.onnx` wrote, or with `input_shape` of any other that takes one
            float32 tensor of images in [0, 1], of shape `(batch, H, W, C)` or `(batch, C, H, W)`. An
            output named "logits", else the first of floats, is taken for the logits.
        batch_size: int, images that are run at a time, where the file leaves that open.
        threads: int, threads inside an operation, or None for onnxruntime's choice.
        input_shape: tuple `(H, W, C)`, the shape of an image, which only exported files tell; None
            refuses all others.
        trust: bool, whether loops, branches and functions of the file's own may run. Weights outside the
            file's folder are refused always.

    Returns:
        `Runtime`: call it on `(batch, H, W, C)` float32 images in [0, 1] to get `(batch, K)` logits.
    """
    return Runtime(path, batch_size=batch_size, threads=threads, input_shape=input_shape, trust=trust)


def load_saved_model(path, *, batch_size=256, input_shape=None, trust=False):
    """Load a SavedModel through TensorFlow alone, without Keras: an exported one, or any classifier.

    Args:
        path: path of a directory that `export.saved_model` wrote, or with `input_shape` of any other
            whose signature `serving_default` is as `load_onnx` says of ONNX files.
        batch_size: int, images that are run at a time, where the file leaves that open.
        input_shape: tuple `(H, W, C)`, the shape of an image, which only exported files tell; None
            refuses all others.
        trust: bool, whether operations may run that do more than compute, such as those that read and
            write files, and files be read that its directory links to.

    Returns:
        `SavedModelRuntime`, which is used as `Runtime` is.
    """
    return SavedModelRuntime(path, batch_size=batch_size, input_shape=input_shape, trust=trust)
