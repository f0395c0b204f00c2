"""What two objects must have in common to give the same verdicts, as plain values and digests."""

import dataclasses
import dis
import functools
import hashlib
import json
import os
import types

import numpy as np

_LIBRARIES = ("builtins", "keras", "sharedkeras")
"""Packages whose code is named instead of hashed; their versions are part of every evaluation."""


class UnknownIdentity(ValueError):
    """Raised for an object of which nothing tells whether it is the same in another process."""


def digest(value):
    """Compute the SHA-256 of a value that `describe` returned, as hexadecimal str."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_of_array(array):
    """Compute the SHA-256 of an array's dtype, shape and values, as hexadecimal str."""
    array = np.ascontiguousarray(array)
    known = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    known.update(array.data.cast("B") if array.size else b"")
    return known.hexdigest()


def describe(value):
    """Return a JSON value that is equal for two objects exactly if they compute the same.

    A dataclass (an attack) is known by its class and fields, a class of another package by the code
    of its methods as well, a function by its code, its defaults and the values that it reads from
    around it. Lists, dicts and sets that code reads from around it, and variables that it writes, are
    taken for its state and do not count.

    Args:
        value: a setting, an attack, a function or a class.

    Returns:
        Nested lists, dicts with str keys, str, int, bool and None.

    Raises:
        UnknownIdentity: for an object with no such description, such as an open session.
    """
    return _describe(value, ())


def _describe(value, within):
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | complex | bytes | type(...)):
        return repr(value)
    if isinstance(value, dict):
        pairs = [[str(key), _describe(entry, within)] for key, entry in value.items()]
        return ["dict", *sorted(pairs, key=lambda pair: pair[0])]
    if isinstance(value, list | tuple):
        return [_describe(entry, within) for entry in value]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(json.dumps(_describe(entry, within)) for entry in value)]
    if isinstance(value, np.ndarray) and value.dtype != object:
        return ["array", digest_of_array(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, type):
        return describe_class(value)
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return [describe_class(type(value)), _describe(fields, within)]
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, functools.partial):
        return ["partial", *(_describe(v, within) for v in (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return ["method", _describe(value.__func__, within), _describe(value.__self__, within)]
    if isinstance(value, types.FunctionType):
        return _describe_function(value, within)
    if isinstance(value, types.BuiltinFunctionType | np.ufunc):
        return f"{getattr(value, '__module__', None)}.{value.__name__}"
    raise UnknownIdentity(
        f"Nothing tells whether an object of type {type(value).__name__} is the same in another process."
    )


def is_library(module):
    """Tell whether code of this module is named instead of hashed."""
    return (module or "").split(".")[0] in _LIBRARIES


def describe_class(kind):
    """Return the name of a class and, of its parts from other packages, the digest of their code."""
    code = [
        [name, describe_code(member.__code__)]
        for base in kind.__mro__
        if not is_library(base.__module__)
        for name, member in sorted(vars(base).items())
        if isinstance(member, types.FunctionType)
    ]
    return [f"{kind.__module__}.{kind.__qualname__}", digest(code) if code else None]


def describe_code(code):
    """Return what a code object does, without the place where it was written."""
    constants = [
        describe_code(c) if isinstance(c, types.CodeType) else _describe(c, ()) for c in code.co_consts
    ]
    names = [*code.co_names, *code.co_varnames, *code.co_freevars]
    return [code.co_code.hex(), names, constants]


def _describe_function(function, within):
    name = f"{function.__module__}.{function.__qualname__}"
    if is_library(function.__module__) or function in within:
        return name
    within = (*within, function)
    around = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    around = {name: _contents(cell) for name, cell in around.items()}
    codes = list(_nested(function.__code__))
    for used in {name for code in codes for name in code.co_names} & set(function.__globals__):
        around[used] = function.__globals__[used]
    written = {i.argval for code in codes for i in dis.get_instructions(code) if _stores(i)}
    settings = {
        name: _describe(value, within)
        for name, value in around.items()
        if name not in written and not isinstance(value, list | dict | set)
    }
    return [
        name,
        describe_code(function.__code__),
        _describe([function.__defaults__, function.__kwdefaults__], within),
        _describe(settings, within),
    ]


def _contents(cell):
    try:
        return cell.cell_contents
    except ValueError:
        raise UnknownIdentity("A function reads a variable that has no value yet.") from None


def _nested(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _stores(instruction):
    return instruction.opname in ("STORE_DEREF", "STORE_GLOBAL")
