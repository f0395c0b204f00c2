"""Times AutoAttack against the official PyTorch tool: same CPU, weights and points, in turns.

    pip install torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu
    git clone https://github.com/fra31/auto-attack
    python benchmarks/autoattack_speed.py --official=auto-attack --network=resnet18 --points=100

The network is built in Keras and its weights are copied to PyTorch; that both give the same logits is
checked before anything is timed. Each tool judges the same images with `standard`; the runs alternate,
so that a machine that slows down slows both. Also measured: which share of the machine's
matrix-multiplication ceiling our gradient loop reaches.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import keras
import numpy as np
import torch
from keras import ops

import sharedkeras
from sharedkeras import backend, evaluation, losses
from sharedkeras.attacks import APGD, FAB, Square
from sharedkeras.models import FrozenClassifier
from sharedkeras.models.classifiers.gradients import input_gradient


def to_torch(network):
    """Copy a functional Keras network of the usual layers.

    Returns:
        `torch.nn.Module` on NCHW images.
    """
    modules, steps = torch.nn.ModuleDict(), []
    for layer in network.layers:
        kind = type(layer).__name__
        name = layer.name.replace(".", "_")
        weights = [torch.tensor(ops.convert_to_numpy(w + 0)) for w in layer.weights]
        if kind == "Conv2D":
            kernel = weights[0].permute(3, 2, 0, 1)
            same = layer.padding == "same"
            module = torch.nn.Conv2d(
                kernel.shape[1],
                kernel.shape[0],
                kernel.shape[2:],
                stride=layer.strides,
                padding=kernel.shape[2] // 2 if same else 0,
                bias=layer.use_bias,
            )
            module.weight.data = kernel.contiguous()
            if layer.use_bias:
                module.bias.data = weights[1]
        elif kind == "BatchNormalization":
            module = torch.nn.BatchNorm2d(weights[0].shape[0], eps=layer.epsilon)
            module.weight.data, module.bias.data = weights[0], weights[1]
            module.running_mean.data, module.running_var.data = weights[2], weights[3]
        elif kind == "Dense":
            module = torch.nn.Linear(*weights[0].shape)
            module.weight.data, module.bias.data = weights[0].T.contiguous(), weights[1]
        elif kind == "ZeroPadding2D":
            (top, bottom), (left, right) = layer.padding
            module = torch.nn.ZeroPad2d((left, right, top, bottom))
        elif kind == "ReLU" or (kind == "Activation" and layer.activation is keras.activations.relu):
            module = torch.nn.ReLU()
        elif kind == "Activation" and layer.activation is keras.activations.tanh:
            module = torch.nn.Tanh()
        elif kind == "Normalization":
            module = _Normalise(layer)
        elif kind == "MaxPooling2D":
            module = torch.nn.MaxPool2d(layer.pool_size)
        elif kind == "AveragePooling2D":
            module = torch.nn.AvgPool2d(layer.pool_size)
        elif kind in ("InputLayer", "Add", "GlobalAveragePooling2D", "Flatten"):
            module = torch.nn.Identity()
        else:
            raise ValueError(f"No PyTorch twin for a layer. Received: {layer}")
        modules[name] = module
        inputs = [] if kind == "InputLayer" else layer.input
        inputs = inputs if isinstance(inputs, list) else [inputs]
        steps.append((name, kind, [id(t) for t in inputs], id(layer.output)))

    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = modules

        def forward(self, x):
            values = {}
            for name, kind, inputs, output in steps:
                given = [values[i] for i in inputs]
                if kind == "InputLayer":
                    values[output] = x
                elif kind == "Add":
                    values[output] = given[0] + given[1]
                elif kind == "GlobalAveragePooling2D":
                    values[output] = given[0].mean(dim=(2, 3))
                elif kind == "Flatten":
                    values[output] = given[0].permute(0, 2, 3, 1).flatten(1)
                else:
                    values[output] = self.parts[name](given[0])
            return values[steps[-1][3]]

    return Twin().eval()


class _Normalise(torch.nn.Module):
    """Keras's Normalization with one mean and variance for each channel."""

    def __init__(self, layer):
        super().__init__()
        self.mean, self.scale = (
            torch.tensor(np.array(v, "float32").reshape(1, -1, 1, 1))
            for v in (layer.input_mean, np.sqrt(layer.input_variance))
        )

    def forward(self, x):
        return (x - self.mean) / self.scale


def matmul_ceiling():
    """Measures the best rate of a large matrix product on the active backend, in FLOP/s."""
    a = ops.convert_to_tensor(np.random.default_rng(0).random((2048, 2048), "float32"))
    product = backend.compile(ops.matmul)
    best = 0.0
    for _ in range(8):
        began = time.perf_counter()
        ops.convert_to_numpy(product(a, a)[0, 0])
        best = max(best, 2 * 2048**3 / (time.perf_counter() - began))
    return best


def gradient_rate(network, x, y):
    """Measures the rate of the input gradient, in FLOP/s (forward and one backward pass)."""
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
        sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests"))
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


def main():
    """Alternates the two tools and prints figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--official", required=True, help="checkout of fra31/auto-attack")
    parser.add_argument("--network", default="M2", help="M2, a .keras file, or a name of models.build")
    parser.add_argument("--images", help=".npz file of x and y for a .keras file; default: CIFAR-10")
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--norm", default="linf", choices=("linf", "l2"))
    parser.add_argument("--epsilon", type=float, default=8 / 255)
    parser.add_argument("--batch_size", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data_dir")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
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
    main()
