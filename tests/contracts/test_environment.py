"""oneDNN is on unless the user says otherwise; where it cannot be turned on any more, a note says so."""

import os
import platform
import subprocess
import sys

import pytest

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
NOTE = "has left oneDNN off"
pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is x86's")


def imported(code, **environment):
    """Return what a new process printed and what it said beside that."""
    clean = {k: v for k, v in os.environ.items() if k != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n"), done.stderr


SHOW = f"import os; print(os.environ.get({VARIABLE!r}))\n"
VERSION = "from sharedkeras.evaluation import versions; print(versions()['backend'])\n"


def test_the_library_sets_the_variable_when_it_comes_first():
    said, notes = imported(f"import sharedkeras\n{SHOW}")
    assert said[0] == "1" and NOTE not in notes


@pytest.mark.tensorflow
@pytest.mark.parametrize("given", ["0", "1"])
def test_the_user_decides_and_reports_record_it(given):
    said, notes = imported(f"import sharedkeras\n{SHOW}{VERSION}", **{VARIABLE: given})
    assert said[0] == given
    assert said[1].startswith("tensorflow ") and said[1].endswith(
        f", oneDNN {'on' if given == '1' else 'off'}"
    )
    assert NOTE not in notes


@pytest.mark.tensorflow
def test_one_note_where_it_is_too_late():
    # As on a CPU for which TensorFlow leaves it off: off, and nobody has set the variable.
    code = f"import keras, os\ndel os.environ[{VARIABLE!r}]\nimport sharedkeras\n{SHOW}{VERSION}"
    said, notes = imported(code, **{VARIABLE: "0"})
    assert said[0] == "None" and said[1].endswith("oneDNN off")
    assert notes.count(NOTE) == 1
    assert f"{VARIABLE}=1" in notes and "doubles the time" in notes


@pytest.mark.tensorflow
def test_no_note_where_it_is_on_already():
    code = f"import keras, os\ndel os.environ[{VARIABLE!r}]\nimport sharedkeras\n{VERSION}"
    said, notes = imported(code, **{VARIABLE: "1"})
    assert said[0].endswith("oneDNN on") and NOTE not in notes
