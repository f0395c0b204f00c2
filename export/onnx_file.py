"""What an ONNX file holds, read from its bytes before any runtime sees it.

Protocol Buffers are numbered fields one after another, which a few lines can read. So running a file
needs no package but onnxruntime, and a hostile file is met by code whose depth and sizes are bounded.
The numbers of the fields are those of onnx.proto.
"""

import hashlib
import math
import pathlib
from typing import NamedTuple

_BRANCHING = ("If", "Loop", "Scan", "SequenceMap")
_GROWING = ("ConstantOfShape", "Expand", "EyeLike", "OneHot", "Pad", "Range", "Resize", "Tile")
_SIZES = ("dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides")
_DEEPEST = 16
_MOST_OPERATORS = 200_000
_LARGEST_TENSOR = 2**31
_LARGEST_MADE = 2**28
_LARGEST_WINDOW = 2**13
_MOST_SHAPE_NUMBERS = 16
_METADATA, _GRAPH, _FUNCTIONS, _TRAINING = 14, 7, 25, 20
_EXTERNAL = 1
UNREADABLE = "The ONNX file cannot be read; expected a whole one of known operators"
"""How every message on a damaged file begins."""


class _Tensor(NamedTuple):
    name: str
    dims: list
    numbers: list
    external: dict | None


def check_onnx_file(path, *, trust=False):
    """Check that a file can be given to a runtime.

    Args:
        path: `pathlib.Path`.
        trust: bool, whether loops, branches and functions of the file's own may run.

    Returns:
        Sorted list of `pathlib.Path`, the files beside it that hold its weights.

    Raises:
        ValueError: if it is no ONNX file or damaged, if it reads files outside its folder, makes tensors
            beyond all measure, or holds loops, branches or functions without `trust`.
    """
    data = memoryview(path.read_bytes())
    try:
        return sorted(_Check(path, len(data), trust).model(data))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{UNREADABLE}: {error or 'it ends too early'}. Received: path={str(path)!r}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{error}. Received: path={str(path)!r}") from error


def digest_of(data):
    """Return the SHA-256 of a model without its metadata, hexadecimal.

    Args:
        data: bytes of an ONNX file.
    """
    digest = hashlib.sha256()
    for number, value in _fields(memoryview(data)):
        if number != _METADATA:
            # The number keeps fields apart; the length keeps their ends apart.
            size = value if isinstance(value, int) else len(value)
            digest.update(f"{number} {size} ".encode())
            digest.update(b"" if isinstance(value, int) else value)
    return digest.hexdigest()


class _Check:
    def __init__(self, path, size, trust):
        self.path, self.size, self.trust = path, size, trust
        self.operators = self.depth = 0
        self.constants = {}
        self.files = set()

    def model(self, data):
        graphs = 0
        for number, value in _messages(data, "a model"):
            if number == _GRAPH:
                graphs += 1
                self.graph(value)
            elif number in (_FUNCTIONS, _TRAINING) and not self.trust:
                raise ValueError(
                    "The ONNX file holds functions of its own; operators only are expected, or "
                    "`trust=True` (--trust) for a file of known origin"
                )
        if graphs != 1:
            raise ValueError(f"{UNREADABLE}: it holds {graphs} graphs instead of one")
        return self.files

    def graph(self, data):
        fields = list(_messages(data, "a graph"))
        for number, value in fields:
            if number == 5:
                self.tensor(value)
            elif number == 15:
                raise ValueError("The ONNX file holds sparse weights; dense ones are expected")
        nodes = [_Node(value) for number, value in fields if number == 1]
        self.operators += len(nodes)
        if self.operators > _MOST_OPERATORS:
            raise ValueError(f"The ONNX file holds more than {_MOST_OPERATORS} operators")
        for node in nodes:
            self.attributes(node)
        for node in nodes:
            self.node(node)

    def attributes(self, node):
        for name, kind, value in node.attributes:
            if kind == "tensor":
                found = self.tensor(value)
                if node.kind == "Constant" and node.outputs:
                    self.constants[node.outputs[0]] = found.numbers
            elif kind == "graph" and self.trust:
                self.depth += 1
                if self.depth > _DEEPEST:
                    raise ValueError(f"The ONNX file is nested deeper than {_DEEPEST} graphs")
                self.graph(value)
                self.depth -= 1
            elif kind == "graph":
                raise _branching(node)
            elif kind == "int" and name in _SIZES and not abs(value) <= _LARGEST_WINDOW:
                raise ValueError(
                    f"The operator {node.kind} {node.name!r} has `{name}` of {value}; at most "
                    f"{_LARGEST_WINDOW} is expected"
                )

    def node(self, node):
        if node.kind in _BRANCHING and not self.trust:
            raise _branching(node)
        if node.kind not in _GROWING:
            return
        for name in node.inputs:
            numbers = self.constants.get(name, ())
            made = math.prod(abs(n) for n in numbers if n)
            if made > _LARGEST_MADE:
                raise ValueError(
                    f"The operator {node.kind} {node.name!r} makes a tensor of {numbers}; at most "
                    f"{_LARGEST_MADE} elements are expected"
                )

    def tensor(self, data):
        tensor = _tensor(data)
        elements = math.prod(tensor.dims)
        if min(tensor.dims, default=0) < 0 or elements > _LARGEST_TENSOR:
            raise ValueError(f"The weights {tensor.name!r} have the impossible sizes {tensor.dims}")
        if tensor.external is None:
            if elements > 2 * self.size:  # Two numbers of four bits to a byte.
                raise ValueError(
                    f"The ONNX file of {self.size} bytes cannot hold the weights {tensor.name!r} of "
                    f"sizes {tensor.dims}"
                )
        else:
            self.external(tensor)
        self.constants[tensor.name] = tensor.numbers
        return tensor

    def external(self, tensor):
        """Find the file that holds a tensor's numbers, which must lie in the folder."""
        location = tensor.external.get("location", "")
        folder = self.path.parent.resolve()
        parts = pathlib.PurePosixPath(location).parts
        outside = not parts or ".." in parts or location.startswith(("/", "\\")) or ":" in location
        file = folder / location
        if outside or "\\" in location or not file.resolve().is_relative_to(folder):
            raise ValueError(
                f"The weights {tensor.name!r} lie in {location!r}; a file in the folder of the ONNX "
                "file is expected"
            )
        if not file.is_file():
            raise ValueError(
                f"The weights {tensor.name!r} lie in {location!r}, which must be there and is missing"
            )
        try:
            offset, length = (int(tensor.external.get(k) or 0) for k in ("offset", "length"))
        except ValueError:
            offset = length = -1
        if offset < 0 or length < 0 or offset + length > file.stat().st_size:
            raise ValueError(
                f"The weights {tensor.name!r} lie in {location!r} from {tensor.external.get('offset')} "
                f"for {tensor.external.get('length')} bytes, which it does not have"
            )
        self.files.add(file)


def _branching(node):
    return ValueError(
        f"The ONNX file holds a loop or a branch, {node.kind} {node.name!r}; operators only are "
        "expected, or `trust=True` (--trust) for a file of known origin"
    )


class _Node:
    """The parts of an operator that are looked at."""

    def __init__(self, data):
        self.inputs, self.outputs, self.attributes = [], [], []
        self.kind = self.name = ""
        for number, value in _messages(data, "an operator"):
            if number == 1:
                self.inputs.append(_text(value))
            elif number == 2:
                self.outputs.append(_text(value))
            elif number == 3:
                self.name = _text(value)
            elif number == 4:
                self.kind = _text(value)
            elif number == 5:
                self.attributes.extend(_attribute(value))


def _attribute(data):
    """Yield `(name, kind, value)` for each tensor, graph and whole number of an attribute."""
    fields = list(_fields(data))
    name = next((_text(_need_bytes(v)) for n, v in fields if n == 1), "")
    for number, value in fields:
        if number in (5, 10):
            yield name, "tensor", _need_bytes(value)
        elif number in (6, 11):
            yield name, "graph", value
        elif number in (3, 8):
            yield from ((name, "int", n) for n in _numbers(value))


def _tensor(data):
    dims, numbers, pairs, kind, name, location, raw = [], [], [], 0, "", 0, b""
    for number, value in _fields(data):
        if number == 1:
            dims += _numbers(value)
        elif number == 2:
            kind = value
        elif number in (5, 7) and len(numbers) <= _MOST_SHAPE_NUMBERS:
            numbers += _numbers(value, most=_MOST_SHAPE_NUMBERS)
        elif number == 8:
            name = _text(_need_bytes(value))
        elif number == 9:
            raw = _need_bytes(value)
        elif number == 13:
            pairs.append(dict(_messages(value, "a name and a value")))
        elif number == 14:
            location = value
    if len(raw) <= 8 * _MOST_SHAPE_NUMBERS and kind in (6, 7):
        size = 4 if kind == 6 else 8
        starts = range(0, len(raw) - len(raw) % size, size)
        numbers += [int.from_bytes(raw[i : i + size], "little", signed=True) for i in starts]
    external = {_text(p.get(1, b"")): _text(p.get(2, b"")) for p in pairs}
    is_external = bool(location) or bool(external)
    return _Tensor(name, dims, numbers, external if is_external else None)


def _messages(data, what):
    """Yield number and bytes of the fields that are messages or text, and leave numbers out."""
    if isinstance(data, int):
        raise ValueError(f"{UNREADABLE}: a number stands where {what} is expected")
    for number, value in _fields(data):
        if not isinstance(value, int):
            yield number, value


def _need_bytes(value):
    if isinstance(value, int):
        raise ValueError(f"{UNREADABLE}: a number stands where text is expected")
    return value


def _text(value):
    return bytes(value).decode("utf-8")


def _numbers(value, most=None):
    """Return a repeated field of whole numbers, which may be packed into bytes."""
    if isinstance(value, int):
        return [_signed(value)]
    found, place = [], 0
    while place < len(value) and (most is None or len(found) <= most):
        number, place = _varint(value, place)
        found.append(_signed(number))
    return found


def _signed(number):
    return number - 2**64 if number >= 2**63 else number


def _fields(data):
    """Yield number and value of each field: an int, or a part of the data."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, place = data[place : place + size], place + size
        elif wire == 2:
            size, place = _varint(data, place)
            value, place = data[place : place + size], place + size
        else:
            raise ValueError(f"{UNREADABLE}: there is no kind {wire} of field")
        if place > len(data) or number == 0:
            raise ValueError(f"{UNREADABLE}: it ends too early")
        yield number, value


def _varint(data, place):
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), place
    raise ValueError(f"{UNREADABLE}: a number does not end")
