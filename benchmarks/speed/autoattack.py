"""Times AutoAttack against the official PyTorch tool: same CPU, weights and points, in turns.

    pip install torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu
    git clone https://github.com/fra31/auto-attack
    python -m benchmarks.speed.autoattack --official=auto-attack --network=resnet18 --points=100

The network is built in Keras and its weights are copied to PyTorch; that both give the same logits is
checked before anything is timed. Each tool judges the same images with `standard`; the runs alternate,
so that a machine that slows down slows both. Also measured: which share of the machine's
matrix-multiplication ceiling our gradient loop reaches.
"""

import json
import pathlib
import statistics
import sys
import time

import keras
import numpy as np
import torch
from absl import app, flags
from keras import ops

import sharedkeras
from benchmarks.torch_twin import to_torch
from sharedkeras import backend, evaluation, losses
from sharedkeras.attacks import APGD, FAB, Square
from sharedkeras.models import FrozenClassifier
from sharedkeras.models.classifiers.gradients import input_gradient

flags.DEFINE_string("official", None, "Checkout of fra31/auto-attack.", required=True)
flags.DEFINE_string("network", "M2", "M2, a .keras file, or a name of models.build.")
flags.DEFINE_string("images", None, ".npz file of x and y for a .keras file; default: CIFAR-10.")
flags.DEFINE_integer("points", 200, "Images.")
flags.DEFINE_integer("queries", 5000, "Queries of Square.")
flags.DEFINE_enum("norm", "linf", ["linf", "l2"], "Norm of the ball.")
flags.DEFINE_float("epsilon", 8 / 255, "Size of the ball.")
flags.DEFINE_integer("batch_size", 250, "Images at once.")
flags.DEFINE_integer("rounds", 1, "How often the tools take turns.")
flags.DEFINE_integer("seed", 0, "Seed.")
flags.DEFINE_string("data_dir", None, "Directory of the data.")
flags.DEFINE_bool("verbose", False, "Whether the official tool shows progress.")


def matmul_ceiling():
    """Measure the best rate of a large matrix product on the active backend, in FLOP/s."""
    a = ops.convert_to_tensor(np.random.default_rng(0).random((2048, 2048), "float32"))
    product = backend.compile(ops.matmul)
    best = 0.0
    for _ in range(8):
        began = time.perf_counter()
        ops.convert_to_numpy(product(a, a)[0, 0])
        best = max(best, 2 * 2048**3 / (time.perf_counter() - began))
    return best


def gradient_rate(network, x, y):
    """Measure the rate of the input gradient, in FLOP/s (forward and one backward pass)."""
    classifier = FrozenClassifier(network).folded  # What the judge attacks.

    def gradient(view, x, y, state):
        return input_gradient(view, losses.cross_entropy, y, x, state)[2]

    times = []
    for _ in range(8):
        began = time.perf_counter()
        ops.convert_to_numpy(classifier.apply("rate", gradient, x, y, classifier.state)[0, 0, 0, 0])
        times.append(time.perf_counter() - began)
    # A multiplication and an addition, forward and backward.
    return 2 * 2 * classifier.multiply_adds * len(x) / statistics.median(times[2:])


def ours(network, x, y, options):
    """Run our `standard`; returns seconds and flags."""
    common = {"norm": options.norm, "epsilon": options.epsilon}
    attacks = {
        "apgd-ce": APGD(loss="ce", **common),
        "apgd-t": APGD(loss="dlr-targeted", targets=9, **common),
        "fab-t": FAB(targeted=True, targets=9, **common),
        "square": Square(queries=options.queries, **common),
    }
    began = time.perf_counter()
    report = evaluation.autoattack(
        network,
        x,
        y,
        version="custom",
        attacks=attacks,
        batch_size=options.batch_size,
        norm=options.norm,
        epsilon=options.epsilon,
        seed=options.seed,
    )
    return time.perf_counter() - began, report.robust_flags, report.seconds


def official(twin, x, y, options):
    """Run the official `standard`; returns seconds and flags."""
    from autoattack import AutoAttack

    images = torch.tensor(np.moveaxis(x, 3, 1).copy())
    labels = torch.tensor(y, dtype=torch.int64)
    adversary = AutoAttack(
        twin,
        norm={"linf": "Linf", "l2": "L2"}[options.norm],
        eps=options.epsilon,
        version="standard",
        device="cpu",
        seed=options.seed,
        verbose=options.verbose,
    )
    classes = twin(images[:1]).shape[1]
    adversary.apgd_targeted.n_target_classes = adversary.fab.n_target_classes = min(9, classes - 1)
    adversary.square.n_queries = options.queries
    began = time.perf_counter()
    adv = adversary.run_standard_evaluation(images, labels, bs=options.batch_size)
    seconds = time.perf_counter() - began
    with torch.no_grad():
        return seconds, (twin(adv).argmax(1) == labels).numpy(), {}


def load(options):
    """Build the network and load its images."""
    if options.network.endswith(".keras"):
        network = keras.saving.load_model(options.network)
        if options.images:
            with np.load(options.images) as archive:
                return network, archive["x"][: options.points], archive["y"][: options.points]
    elif options.network == "M2":
        sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))
        from support.golden import M2, images

        return M2(), *images("M2", options.points)
    else:
        keras.utils.set_random_seed(options.seed)
        network = sharedkeras.models.build(options.network, input_shape=(32, 32, 3), num_classes=10)
    test = sharedkeras.data.load("cifar10", "test", data_dir=options.data_dir)
    x = test.x[: options.points]
    # An untrained network has no true labels: its own predictions stand in, so that all points count.
    logits = ops.convert_to_numpy(FrozenClassifier(network).predict(x))
    return network, x, logits.argmax(1).astype("int32")


def main(_):
    """Alternate the two tools and print figures as JSON."""
    options = flags.FLAGS
    sys.path.insert(0, options.official)
    network, x, y = load(options)
    twin = to_torch(network)
    with torch.no_grad():
        other = twin(torch.tensor(np.moveaxis(x, 3, 1).copy())).numpy()
    gap = float(np.abs(other - ops.convert_to_numpy(FrozenClassifier(network).predict(x))).max())
    if gap > 1e-4:
        raise SystemExit(f"The PyTorch twin gives other logits: {gap}")
    ceiling = matmul_ceiling()
    rate = gradient_rate(network, ops.convert_to_tensor(x), ops.convert_to_tensor(y))
    rounds = []
    for _ in range(options.rounds):
        busy = [time.process_time()]
        a_seconds, a_flags, parts = ours(network, x, y, options)
        busy.append(time.process_time())
        b_seconds, b_flags, _ = official(twin, x, y, options)
        busy.append(time.process_time())
        rounds.append(
            {
                "ours_s": a_seconds,
                "official_s": b_seconds,
                "ratio": a_seconds / b_seconds,
                # Other work on the machine prolongs the seconds above, these hardly.
                "ours_cpu_s": busy[1] - busy[0],
                "official_cpu_s": busy[2] - busy[1],
                "ours_robust": float(a_flags.mean()),
                "official_robust": float(b_flags.mean()),
                "flags_equal": float((a_flags == b_flags).mean()),
                "ours_by_attack_s": parts,
            }
        )
        print(json.dumps(rounds[-1], indent=1), flush=True)
    result = {
        "network": options.network,
        "points": len(x),
        "queries": options.queries,
        "logit_gap": gap,
        "matmul_ceiling_gflops": ceiling / 1e9,
        "gradient_gflops": rate / 1e9,
        "share_of_ceiling": rate / ceiling,
        "ratio_median": statistics.median(r["ratio"] for r in rounds),
        "versions": {**evaluation.versions(), "torch": torch.__version__},
        "rounds": rounds,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    app.run(main)
