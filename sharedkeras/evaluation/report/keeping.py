"""Where a report goes, so that a quick look never replaces a fuller one."""

import itertools
import pathlib

from sharedkeras.evaluation.report.report import Report


def report_name(directory, report):
    """Return the name, without its ending, under which a report goes into a directory.

    It is `report`, whatever was there before, unless that was fuller: on more images, or on as many of
    the same weights in the same ball by further attacks. Then it is the first of `report-2`, `report-3`,
    ... that is free, or not fuller either.

    Args:
        directory: path, by custom of a run.
        report: `Report` that is to be written.

    Returns:
        Str.
    """
    directory = pathlib.Path(directory)
    names = itertools.chain(["report"], (f"report-{number}" for number in itertools.count(2)))
    return next(name for name in names if not _is_fuller(directory / f"{name}.json", report))


def _is_fuller(path, report):
    """Tell whether the file holds a report that says more than the one to be written."""
    try:
        old = Report.from_json(path)
    except (FileNotFoundError, ValueError):
        return False  # Nothing is lost.
    if old.n != report.n:
        return old.n > report.n
    same = all(
        old.settings.get(name) == report.settings.get(name)
        for name in ("weights_sha256", "dataset", "split", "norm", "epsilon")
    )
    return same and set(old.accuracy) > set(report.accuracy)
