"""Results on disk: where they were asked for, or else where they can be written."""

import pathlib
import sys
import tempfile


def write(directory, write_files):
    """Write an application's files, elsewhere if a directory has become unwritable: work is not lost.

    Args:
        directory: where they belong.
        write_files: function of a `pathlib.Path`, a directory that exists; writes them all.

    Returns:
        `(path, written)`: the directory that holds them, and whether it is the one asked for.

    Raises:
        OSError: if no other place can be written either.
    """
    try:
        path = pathlib.Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        write_files(path)
        return path, True
    except OSError as error:
        other = pathlib.Path(tempfile.mkdtemp(prefix="sharedkeras-"))
        print(f"\n{directory} cannot be written: {error}. Writing to {other}", file=sys.stderr)
        write_files(other)
        return other, False


def write_report(directory, report, *, run=None):
    """Write a report as JSON and HTML, beside a fuller one if there is one.

    Args:
        directory: where it belongs.
        report: `sharedkeras.evaluation.Report`.
        run: directory of the run whose network was judged, or None.

    Returns:
        `(path, written)`: of the HTML file, and whether it is in the directory asked for.
    """
    from sharedkeras import evaluation

    def write_files(path):
        name = evaluation.report_name(path, report)
        report.to_json(path / f"{name}.json")
        report.to_html(path / f"{name}.html", run=run)
        pages.append(path / f"{name}.html")

    pages = []
    _, written = write(directory, write_files)
    return pages[-1], written
