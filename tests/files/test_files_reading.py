"""Readers: what they take, what they refuse before it costs anything, and what they say."""

import io
import json
import zipfile

import numpy as np
import pytest

from sharedkeras.files import describe_archive, parse_json, read_archive, read_json


def test_json_of_the_right_types(tmp_path):
    path = tmp_path / "a.json"
    tree = {"format": "f/1", "a": 1, "b": 2, "c": None, "d": {"é": [True, 0.5]}}
    path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
    entries = {"a": int, "b": float, "c": (str, type(None)), "d": dict}
    assert read_json(path, what="a thing", entries=entries, file_format="f/1") == tree


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', r"\['a'\] is there more than once"),
        ('{"b": {"a": 1, "a": 2}, "a": 1}', r"\['a'\]"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "1e999"),
        ('{"a": true}', "'a' to be an integer, and it is True"),
        ('{"a": 1.0}', "'a' to be an integer"),
        ('{"b": 1}', "an entry 'a'"),
        ("[]", "an object, and it holds an array"),
        ("7", "an integer"),
        ("", "Expecting value"),
        ('{"a": 1', "Expecting"),
        ('{"a": 1} x', "Extra data"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
    ],
)
def test_json_that_is_refused(tmp_path, text, said):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        read_json(path, what="a thing", entries={"a": int})
    assert str(path) in str(caught.value)
    assert "a thing" in str(caught.value)


def test_format_and_origin_are_named():
    with pytest.raises(ValueError, match=r"'f/1', and it is 'f/2'. Received: path=somewhere"):
        parse_json('{"format": "f/2"}', where="somewhere", what="a thing", file_format="f/1")


def test_json_is_bounded(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": "x" * 1000}))
    assert read_json(path, what="a thing", max_bytes=path.stat().st_size)
    with pytest.raises(ValueError, match=r"at most 1,000 bytes.*a\.json"):
        read_json(path, what="a thing", max_bytes=1000)


def test_absent_files_and_directories(tmp_path):
    for read in (read_json, read_archive, describe_archive):
        with pytest.raises(FileNotFoundError, match=r"a thing.*none"):
            read(tmp_path / "none", what="a thing")
        with pytest.raises(ValueError, match=str(tmp_path)):
            read(tmp_path, what="a thing")


ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3),
    "b": np.array("text"),
    "c": np.asfortranarray(np.arange(6, dtype="uint8").reshape(3, 2)),
    "d": np.zeros((0, 3)),
    "e": np.arange(3, dtype=">f4"),
}


def archive(arrays, save=np.savez_compressed):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archive_reads_back(save):
    found = read_archive(archive(ARRAYS, save), what="a thing", required=ARRAYS)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable
    described = describe_archive(archive(ARRAYS, save), what="a thing")
    assert described == {name: (array.shape, array.dtype) for name, array in ARRAYS.items()}


def test_only_what_is_asked_for_is_unpacked():
    data = archive({"small": np.zeros(4), "large": np.zeros(10**6)})
    assert list(read_archive(data, what="a thing", only=["small"], max_bytes=32)) == ["small"]
    with pytest.raises(ValueError, match="at most 32 bytes unpacked"):
        read_archive(data, what="a thing", max_bytes=32)


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    data = archive({"a": np.zeros(50_000_000, "uint8")})
    assert len(data) < 100_000

    def refuse(*_):
        raise AssertionError("something was unpacked")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", refuse)
    monkeypatch.setattr(zipfile.ZipExtFile, "readinto", refuse)
    with pytest.raises(ValueError, match="at most 1,000 bytes unpacked"):
        read_archive(data, what="a thing", max_bytes=1000)


def test_ten_thousand_mutations_give_the_arrays_or_a_value_error():
    data = archive({k: ARRAYS[k] for k in "abc"})
    draws = np.random.default_rng(0)
    refused = 0
    for _ in range(10_000):
        mutated = bytearray(data)
        for place in draws.integers(len(data), size=draws.integers(1, 4)):
            mutated[place] = draws.integers(256)
        try:
            found = read_archive(bytes(mutated), what="a thing", where="here", max_bytes=10**6)
        except ValueError as error:
            assert "a thing" in str(error) and "here" in str(error)
            refused += 1
        else:
            for name in set(found) & set(ARRAYS):
                np.testing.assert_array_equal(found[name], ARRAYS[name])
    assert refused > 7000
