r"""Prints what each dtype policy, floatx and image data format does: trained, judged, exported.

    python benchmarks/policies/table.py
    python benchmarks/policies/table.py --policies=mixed_float16 --formats=channels_last --backends=jax

Each row is a process of its own, since backend, policy and format hold for a whole process. A cell says
"works", "refused" where a sentence below the table names what is not supported, or "WRONG". Works means
two updates whose losses are those of float32 within a tolerance; a short APGD-CE whose verdicts a fresh
prediction confirms; files whose logits are the network's.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl import app, flags

_FLOATX = ("float64", "float16")
_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16", *_FLOATX)
_SCALE = 256.0
"""Of the loss under mixed_float16."""
_COLUMNS = ("train", "judge", "saved_model", "onnx")

FLAGS = flags.FLAGS
flags.DEFINE_list("policies", list(_POLICIES), "rows: dtype policies, or values of floatx")
flags.DEFINE_list("formats", ["channels_last", "channels_first"], "rows: Keras's image_data_format")
flags.DEFINE_list("backends", ["tensorflow", "jax"], "rows: Keras's backends")
flags.DEFINE_string("json", None, "file to which all that was found is written")
flags.DEFINE_string("row", None, "only for the processes that this one starts: 'policy,format'")


def main(_):
    """Run all rows and print the table."""
    if FLAGS.row:
        print(json.dumps(run_row(*FLAGS.row.split(","))))
        return
    rows = {}
    for backend in FLAGS.backends:
        for policy in FLAGS.policies:
            for data_format in FLAGS.formats:
                rows[backend, policy, data_format] = start_row(backend, policy, data_format)
                print(table(rows), flush=True)
    if FLAGS.json:
        found = [{"row": list(row), **cells} for row, cells in rows.items()]
        pathlib.Path(FLAGS.json).write_text(json.dumps(found, indent=1))
    wrong = [row for row, cells in rows.items() for cell in cells.values() if cell.startswith("WRONG")]
    sys.exit(f"{len(wrong)} cells are wrong" if wrong else 0)


def start_row(backend, policy, data_format):
    """Run one row in its own process and return its cells."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, f"--row={policy},{data_format}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return dict.fromkeys(_COLUMNS, f"WRONG: the process ended: {done.stderr[-300:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_row(policy, data_format):
    """Train, judge and export under one policy and format; returns the cells."""
    import keras
    import numpy as np

    from sharedkeras import models

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.random((32, 16, 16, 3), dtype="float32"), rng.integers(0, 4, 32)
    options = {"input_shape": (16, 16, 3), "num_classes": 4, "latent_dim": 8}
    options["latent_options"] = {"seed": 0}  # The same draws in every network.
    reference = models.build("wrn-10-1", **options)
    weights = reference.get_weights()
    expected = train(reference, x, y)
    if policy in _FLOATX:
        keras.config.set_floatx(policy)
    else:
        keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(data_format)

    def made():
        network = models.build("wrn-10-1", **options)
        network.set_weights(weights)
        return network

    def trained():
        half = "16" in policy
        np.testing.assert_allclose(train(made(), x, y), expected, rtol=0.01 if half else 1e-4)

    network = made()
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        return {
            "train": cell(trained),
            "judge": cell(lambda: judge(network, x[:8])),
            "saved_model": cell(lambda: write("saved_model", network, root / "saved_model", x[:8])),
            "onnx": cell(lambda: write("onnx", network, root / "network.onnx", x[:8])),
        }


def cell(attempt):
    """Say how an attempt went: works, refused in a sentence of ours, or wrong."""
    try:
        attempt()
    except (TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        return f"refused: {said}" if "Received:" in said else f"WRONG: {said[:300]}"
    except Exception as error:
        return f"WRONG: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return "works"


def train(network, x, y):
    """Make two updates with a short attack and return their cross-entropies.

    The divergence of the two latents is left out: it squares a difference of nearly equal means over a
    scale of 0.1, of which half precision leaves few digits.
    """
    import keras
    import numpy as np

    from sharedkeras import attacks, objectives, training

    attack = attacks.PGD(epsilon=8 / 255, step_size=4 / 255, steps=2)
    trainer = training.RobustTrainer(network, objectives.SharedInformation(attack=attack, beta=0.1))
    optimizer = keras.optimizers.SGD(0.01)
    if network.layers[-1].dtype_policy.name == "mixed_float16":
        # Keras begins at a scale of 2**15, and skips updates until the gradients fit: both of these.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=_SCALE)
    trainer.compile(optimizer=optimizer)
    logs = trainer.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0).history
    if not np.isfinite(logs["loss"]).all():
        raise AssertionError(f"loss {logs['loss']}")
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scaled and float(optimizer.dynamic_scale) < _SCALE:
        raise AssertionError(f"an update was skipped at a scale of {_SCALE}")
    return [*logs["ce_adv"], *logs["ce_clean"]]


def judge(network, x):
    """Judge by a short APGD-CE, and confirm each verdict by the network itself."""
    import numpy as np
    from keras import ops

    from sharedkeras import attacks, evaluation

    y = ops.convert_to_numpy(network(x)).argmax(axis=1)
    attack = {"apgd-ce": attacks.APGD(epsilon=0.01, steps=5)}
    report = evaluation.autoattack(
        network, x, y, version="custom", attacks=attack, batch_size=8, verbose=False
    )
    if report.clean != 1.0:
        raise AssertionError(f"clean accuracy {report.clean} on the network's own predictions")
    again = ops.convert_to_numpy(network(report.adversarial)).argmax(axis=1)
    np.testing.assert_array_equal(again == y, report.robust_flags)
    if np.abs(report.adversarial - x).max() > 0.01 + 1e-6:
        raise AssertionError("an image outside the ball")


def write(kind, network, path, x):
    """Export the network and compare the file's logits with its own."""
    import numpy as np
    from keras import ops

    import export

    getattr(export, kind)(network, path)
    load = export.load_onnx if kind == "onnx" else export.load_saved_model
    theirs, ours = load(path)(x), ops.convert_to_numpy(ops.cast(network(x), "float32"))
    half = any("16" in layer.compute_dtype for layer in network.layers)
    # A network that computes in half precision is exported in float32.
    np.testing.assert_allclose(theirs, ours, rtol=0.05 if half else 1e-4, atol=0.05 if half else 1e-4)


def table(rows):
    """Lay out the cells, and below them each sentence once."""
    lines = [f"{'backend':<11}{'policy':<16}{'format':<16}" + "".join(f"{c:<13}" for c in _COLUMNS)]
    notes = []
    for (backend, policy, data_format), cells in rows.items():
        marks = []
        for column in _COLUMNS:
            word, _, said = cells[column].partition(": ")
            if said:
                notes += [said] if said not in notes else []
                word += f" [{notes.index(said) + 1}]"
            marks.append(f"{word:<13}")
        lines.append(f"{backend:<11}{policy:<16}{data_format:<16}" + "".join(marks))
    return "\n".join([*lines, *(f"[{i}] {said}" for i, said in enumerate(notes, start=1)), ""])


if __name__ == "__main__":
    app.run(main)
