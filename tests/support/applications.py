"""Applications, run by tests."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
# Runs an application for several lists of flags in one process: starting one costs more than the rest.
DRIVER = """
import contextlib, importlib, io, json, sys
from app_support import ending
name, runs = sys.argv[1], json.loads(sys.argv[2])
app, results = importlib.import_module(name), []
for argv in runs:
    for flag in app.FLAGS:
        app.FLAGS[flag].unparse()
    app.FLAGS([name, *argv])
    sys.argv = [f"apps/{name}.py", *argv]
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            ending.guarded(app.main, None)
        except SystemExit as end:
            code = end.code
    results.append([code, said.getvalue()])
print(json.dumps(results))
"""


def drive(app, runs, cwd, seconds=280):
    """Return exit code and words of an application for each list of flags."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, app, json.dumps(runs)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'apps'}"},
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
