"""Writes a file in a process of its own, for networks of other backends than TensorFlow.

Keras layers are the same on every backend, so a network that lives in JAX is saved as `.keras`, read
here on TensorFlow, and exported. `export.writing.pipeline` runs it as
`python -m export.writing.worker JOB`, where JOB is a JSON file; what went wrong is written beside it.
"""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import warnings

import keras

from sharedkeras.files import read_json

_JOB = {"network": str, "modules": list, "error": str, "path": str, "options": dict}
_ERRORS = {e.__name__: e for e in (ImportError, RuntimeError, TypeError, ValueError)}
_STDERR_LINES = 20


def write_in_subprocess(network, path, directory, **job):
    """Call `export.writing.tensorflow_writer.write` in a subprocess on the TensorFlow backend.

    Args:
        network: `keras.Model` of any backend, made of layers that a fresh process can import.
        path: path where nothing exists yet.
        directory: existing empty directory for what passes between the processes.
        **job: keyword arguments of `write`.

    Raises:
        RuntimeError: if the subprocess fails in an unforeseen way.
        ValueError: if the running script itself defines a layer, and as `write` raises it.
        TypeError, ImportError: as `write` raises them.
    """
    modules = _modules(network)
    if "__main__" in modules:
        raise ValueError(
            "The file is written by a process of its own, which cannot import layers that the running "
            f"script defines; put them into a module. Received: network={network.name!r} on the "
            f"{keras.config.backend()} backend"
        )
    directory = pathlib.Path(directory)
    saved, error, job_file = (directory / n for n in ("network.keras", "error.json", "job.json"))
    with warnings.catch_warnings():
        # Keras 3.15 copies variables in a way that NumPy 2 has deprecated.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        network.save(saved)
    job_file.write_text(
        json.dumps(
            {
                "network": str(saved),
                "modules": sorted(modules),
                "error": str(error),
                "path": str(path),
                "options": job,
            }
        ),
        "utf-8",
    )
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",  # The GPU's memory may belong to this process.
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path),
    }
    # -P: the working directory must not come before what this process imports from.
    command = [sys.executable, "-P", "-m", "export.writing.worker", str(job_file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if error.is_file():
        values = read_json(
            error, what="what the export process said", entries={"type": str, "message": str}
        )
        raise _ERRORS.get(values["type"], RuntimeError)(values["message"])
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-_STDERR_LINES:])
        raise RuntimeError(
            f"The export process failed with exit status {done.returncode}:\n{tail}\n"
            f"Received: network={network.name!r}"
        )


def main(job_file):
    """Do one job.

    Args:
        job_file: path of the JSON file that `write_in_subprocess` wrote.

    Returns:
        int, the exit status.
    """
    job = read_json(job_file, what="a job of the export", entries=_JOB)
    try:
        for module in job["modules"]:
            importlib.import_module(module)  # Registers the custom layers.
        from export.writing.tensorflow_writer import write

        # Safe mode is off: the file is this call's own, so a Lambda in it is the caller's code.
        network = keras.saving.load_model(job["network"], compile=False, safe_mode=False)
        write(network, job["path"], **job["options"])
    except tuple(_ERRORS.values()) as error:
        known = next(n for n, e in _ERRORS.items() if isinstance(error, e))
        pathlib.Path(job["error"]).write_text(
            json.dumps({"type": known, "message": str(error)}), "utf-8"
        )
        return 1
    return 0


def _modules(layer):
    """Collect the modules that define the classes of a network's own layers."""
    name = type(layer).__module__
    found = set() if name.split(".")[0] == "keras" else {name}
    for inner in getattr(layer, "layers", []):
        found |= _modules(inner)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
