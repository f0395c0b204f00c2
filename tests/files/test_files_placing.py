"""Directories and files that take another's place: whole at every moment, after a power cut too."""

import os
import pathlib
import shutil

import pytest
from support.failing_disk import Killed, disk
from support.power import cut

from sharedkeras.files import make_directory, placing, put_back, put_in_place, write_atomically

LOST = pytest.mark.parametrize("names_are_lost", [True, False], ids=["names", "contents"])


def tree(path):
    if not path.is_dir():
        return path.read_text()
    return {inner.name: tree(inner) for inner in path.iterdir() if inner.name[0] != "."}


def export_of(path, text):
    """Make a directory as a SavedModel is one."""
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_text(text)
    (path / "variables" / "index").write_text(text)
    return path


OLD, NEW = ({"saved_model.pb": text, "variables": {"index": text}} for text in ("old", "new"))


@pytest.fixture(params=["exchanged", "aside"])
def way(request, monkeypatch):
    """Both ways to replace a directory; the second is that of systems that cannot exchange two."""
    if request.param == "aside":
        monkeypatch.setattr(placing, "_exchanged", lambda one, other: False)
    return request.param


def test_a_directory_is_replaced(tmp_path, way):
    path = export_of(tmp_path / "model", "old")
    put_in_place(export_of(tmp_path / "other", "new"), path)
    assert tree(tmp_path) == {"model": NEW}
    put_in_place(export_of(tmp_path / "other", "old"), tmp_path / "absent")
    assert tree(tmp_path) == {"model": NEW, "absent": OLD}


def test_this_system_exchanges(tmp_path):
    one, other = (export_of(tmp_path / name, name) for name in ("old", "new"))
    if not placing._exchanged(one, other):
        pytest.skip("the file system cannot")
    assert tree(tmp_path) == {"old": NEW, "new": OLD}


def test_a_directory_never_gives_way_to_a_file(tmp_path):
    path = export_of(tmp_path / "model", "old")
    with pytest.raises(OSError, match="model"):
        write_atomically(path, "text")
    assert tree(tmp_path) == {"model": OLD}


def test_the_old_directory_comes_back_when_the_rename_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(placing, "_exchanged", lambda one, other: False)
    path, other = export_of(tmp_path / "model", "old"), export_of(tmp_path / "other", "new")
    rename = os.rename

    def fails_for_the_new(source, target):
        if pathlib.Path(source) == other:
            raise OSError("disk")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_for_the_new)
    with pytest.raises(OSError, match="disk"):
        put_in_place(other, path)
    assert tree(path) == OLD


def test_a_directory_left_without_its_name_gets_it_back(tmp_path, monkeypatch):
    monkeypatch.setattr(placing, "_exchanged", lambda one, other: False)
    path, other = export_of(tmp_path / "model", "old"), export_of(tmp_path / "other", "new")
    rename = os.rename

    def killed_between(source, target):
        rename(source, target)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "rename", killed_between)
        put_in_place(other, path)
    assert not path.exists()
    put_back(tmp_path / "mode")
    put_back(path)
    assert tree(path) == OLD
    put_back(path)
    assert sorted(tree(tmp_path)) == ["model", "other"]


def test_killed_at_any_operation_a_directory_is_old_or_new(tmp_path, monkeypatch):
    def prepared(name):
        root = tmp_path / name
        return export_of(root / "other", "new"), export_of(root / "model", "old")

    both = prepared("count")
    with disk(monkeypatch) as done:
        put_in_place(*both)
    assert len(done) >= 6
    seen = []
    for last in range(len(done)):
        other, path = prepared(str(last))
        with pytest.raises(Killed), disk(monkeypatch, last):
            put_in_place(other, path)
        seen.append(tree(path))
    assert OLD in seen and NEW in seen and all(found in (OLD, NEW) for found in seen)


@LOST
def test_a_power_cut_at_any_operation_leaves_the_old_or_the_new(tmp_path, monkeypatch, names_are_lost):
    root = tmp_path / "disk"

    def run(last=-1):
        shutil.rmtree(root, ignore_errors=True)
        export_of(root / "model", "old")
        (root / "card.json").write_text("old")
        with cut(monkeypatch, root, last, names_are_lost=names_are_lost) as done:
            make_directory(root / "deep" / "er")
            write_atomically(root / "deep" / "er" / "a.json", "new")
            write_atomically(root / "card.json", "new")
            put_in_place(export_of(root / ".model.tmp", "new"), root / "model")
        return done

    count, seen = len(run()), []
    assert tree(root) == {"model": NEW, "card.json": "new", "deep": {"er": {"a.json": "new"}}}
    for last in range(count):
        run(last)
        found = tree(root)
        assert found["model"] in (OLD, NEW) and found["card.json"] in ("old", "new")
        written = found.get("deep", {}).get("er", {}).get("a.json")
        assert written in (None, "new")
        seen.append((written, found["card.json"], found["model"]["saved_model.pb"]))
    stages = [(None, "old", "old"), ("new", "old", "old"), ("new", "new", "old")]
    assert list(dict.fromkeys(seen))[:3] == stages


@LOST
def test_without_a_sync_a_power_cut_takes_the_content_or_the_name(tmp_path, monkeypatch, names_are_lost):
    with cut(monkeypatch, tmp_path, names_are_lost=names_are_lost):
        (tmp_path / "half").write_text("new")
        os.replace(tmp_path / "half", tmp_path / "card.json")
    assert tree(tmp_path) == ({} if names_are_lost else {"card.json": ""})
