"""Writes a run's network into the zoo, with the card that its files prove."""

import json
import pathlib
import re

from sharedkeras.files import locked, make_directory, remove_litter, write_atomically
from zoo.card_reader import read_card
from zoo.cards_index import ROOT, card_files
from zoo.evidence import check_weights
from zoo.loading import build
from zoo.make_card import entries, make_card, read_reports
from zoo.names import check_plain
from zoo.weights_store import read, unpack


def publish(
    run_dir,
    name,
    *,
    reports=(),
    root=None,
    dtype="float32",
    hardware="",
    replace=False,
    data_dir=None,
):
    """Make a card and a weights file from a finished run and its report.

    Nothing is typed in: the recipe comes from `config.json`, the history from `metrics.csv`, ball, data
    set, examples and figures from `report.json`, which must be of these very weights, in the recipe's
    ball, on the recipe's test set or at least 1,000 images of it, drawn at random or by stride. The
    card's file is written last and in one step, so that a failure at any time leaves what was there
    before.

    Args:
        run_dir: directory of a run with `best.keras` (or `last.keras`) and `report.json`.
        name: str, the network's name in the zoo.
        reports: paths of further reports on the same images, such as of weaker attacks beside
            AutoAttack's in `report.json`.
        root: directory of the zoo; the package's own if None.
        dtype: "float32" or "float16", how the weights are stored; rounding must not change them, since
            the report is of the weights as they are loaded.
        hardware: str, what the run was made on.
        replace: bool, whether a card of that name is replaced.
        data_dir: directory of the data, read only for a data set whose size its name does not tell.

    Returns:
        Path of the card.

    Raises:
        FileExistsError: if the zoo has that name, and `replace` is False or it is of other data.
        FileNotFoundError: if a file of the run is missing.
        ValueError: if the name is no plain name, a file is damaged, or the report is not the evidence.
    """
    check_plain("name", name)
    run_dir, root = pathlib.Path(run_dir), pathlib.Path(root or ROOT)
    card, packed = make_card(
        run_dir, name, reports=reports, dtype=dtype, hardware=hardware, data_dir=data_dir
    )
    path = root / "cards" / card["dataset"] / card["norm"] / f"{name}.json"
    _check_free(root, path, replace)
    for directory in (root / "weights", path.parent):
        make_directory(directory)
    with locked(root):
        _check_free(root, path, replace)
        remove_litter(root / "weights")
        remove_litter(path.parent)
        write_entry(card, packed, path, root / "weights")
    return path


def renew(name, reports, *, root=None, data_dir=None):
    """Put newer reports in the place of a card's evidence; the weights stay as they are.

    A network is judged again when the judge has become better, or by AutoAttack where only weaker
    attacks were run. The reports must be what `publish` asks for: of these very weights, in the recipe's
    ball, on its test set or at least 1,000 images of it, drawn at random or by stride.

    Args:
        name: str, a network of the zoo.
        reports: paths of reports on the same images. The first becomes `evaluation`, the others
            `further_evaluations`.
        root: directory of the zoo; the package's own if None.
        data_dir: directory of the data, read only for a data set whose size its name does not tell.

    Returns:
        Path of the card.

    Raises:
        FileNotFoundError: if the zoo has no such network, or a report is missing.
        ValueError: if there are no reports, a file is damaged, a report is not the evidence, or the
            first one is not by AutoAttack while the card's is.
    """
    check_plain("name", name)
    root, reports = pathlib.Path(root or ROOT), list(reports)
    if not reports:
        raise ValueError("A card's evidence is replaced by at least one report. Received: reports=[]")
    with locked(root):
        path = _find(root, name)
        card = read_card(path)
        network = build(card["network"], parameters=card["parameters"])
        unpack(read(card["weights"], root=root), network, where=card["weights"]["file"])
        judged = read_reports(reports, card["training"]["recipe"], data_dir=data_dir)
        for where, report in judged.items():
            check_weights(report, network, where=where)
        new = entries(judged.values())
        _check_not_weaker(card, new, reports[0])
        write_atomically(path, json.dumps({**card, **new}, indent=1, allow_nan=False) + "\n")
    return path


def _find(root, name):
    for path in card_files(root):
        if path.stem == name:
            return path
    raise FileNotFoundError(
        f"Expected the name of a network of the zoo, {[p.stem for p in card_files(root)]}. "
        f"Received: name={name!r}"
    )


def _check_not_weaker(old, new, where):
    """Refuse to put weaker attacks into the place of AutoAttack."""
    was, is_ = (card["evaluation"]["settings"].get("version") for card in (old, new))
    if was == "standard" and is_ != "standard":
        raise ValueError(
            "The card's evidence is AutoAttack's `standard`. Expected the first report to be so too. "
            f"Received: version={is_!r} in {where}"
        )


def _check_free(root, path, replace):
    others = [p for p in card_files(root) if p.stem.casefold() == path.stem.casefold()]
    if others and (others != [path] or not replace):
        how = "or replace=True" if others == [path] else "since that one is elsewhere"
        raise FileExistsError(
            f"Expected a name that the zoo does not have, {how}. "
            f"Received: name={path.stem!r}, which is {', '.join(map(str, others))}"
        )


def write_entry(card, packed, path, weights):
    """Write the weights beside those that are there, then the card, and only then remove the old.

    Args:
        card: dict without the name of the weights file.
        packed: bytes of the weights.
        path: of the card.
        weights: directory of weights files.
    """
    file = weights / f"{card['name']}.npz"
    if file.exists():
        file = weights / f"{card['name']}-{card['weights']['sha256'][:12]}.npz"
    is_new = not file.exists()
    card["weights"] = {"file": file.name, **card["weights"]}
    write_atomically(file, packed)
    try:
        write_atomically(path, json.dumps(card, indent=1, allow_nan=False) + "\n")
    except BaseException:
        if is_new:
            file.unlink(missing_ok=True)
        raise
    _remove_unused(card["name"], file, path.parents[3])


def _remove_unused(name, file, root):
    """Remove the weights that a name had before, or that a kill left without a card."""
    pattern = re.compile(rf"{re.escape(name)}(-[0-9a-f]{{12}})?\.npz")
    others = {f"{card.stem}.npz" for card in card_files(root) if card.stem != name}
    for old in file.parent.iterdir():
        if pattern.fullmatch(old.name) and old != file and old.name not in others:
            old.unlink(missing_ok=True)
