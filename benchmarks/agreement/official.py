"""Runs the official AutoAttack with further seeds, so that its own spread is known.

    pip install torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu
    git clone https://github.com/fra31/auto-attack
    python -m benchmarks.agreement.official --official=auto-attack --reference=R --out=O --network=M1 \
        --attack=standard --points=50 --seeds=1,2,3

Verdicts go to O/official, where `benchmarks.agreement compare` finds them and joins them to those of the
reference data. What is there already is not run again. All points make one batch, as in the reference.
"""

import io
import pathlib
import sys
import time

import numpy as np
from absl import app, flags

from benchmarks.agreement import bench as benches
from benchmarks.agreement.compare import OFFICIAL_NAMES
from benchmarks.agreement.jobs import EPSILON, SIZES, write

_NORMS = {"linf": "Linf", "l2": "L2"}

flags.DEFINE_string("official", None, "Checkout of fra31/auto-attack.", required=True)
flags.DEFINE_string("reference", None, "Directory of the reference data.", required=True)
flags.DEFINE_string("out", None, "Directory of the results of benchmarks.agreement.", required=True)
flags.DEFINE_enum("network", None, list(SIZES), "Network of the reference data.", required=True)
flags.DEFINE_enum("norm", "linf", list(_NORMS), "Norm of the ball.")
flags.DEFINE_enum("attack", None, list(OFFICIAL_NAMES.values()), "Official attack.", required=True)
flags.DEFINE_integer("points", 0, "The first so many images; 0: all.")
flags.DEFINE_list("seeds", ["1", "2"], "Seeds.")


def judge(twin, x, y, *, attack, norm, epsilon, seed):
    """Run the official tool on NHWC images.

    Args:
        twin: `torch.nn.Module` on NCHW images.
        x: `(n, H, W, C)` float32 images in [0, 1].
        y: `(n,)` labels.
        attack: a value of `OFFICIAL_NAMES`.
        norm: "linf" or "l2".
        epsilon: float.
        seed: int.

    Returns:
        `(n,)` bool, whether each point is still classified correctly.
    """
    import torch
    from autoattack import AutoAttack

    images = torch.tensor(np.moveaxis(x, 3, 1).copy())
    labels = torch.tensor(y, dtype=torch.int64)
    whole = attack == "standard"
    chosen = [] if whole else [attack.removesuffix("-q1000")]
    adversary = AutoAttack(
        twin,
        norm=_NORMS[norm],
        eps=epsilon,
        seed=seed,
        version="standard" if whole else "custom",
        attacks_to_run=chosen,
        device="cpu",
        verbose=True,
    )
    if not whole:
        # What `standard` sets; the constructor's own values are those of `plus`.
        adversary.apgd.n_restarts = adversary.fab.n_restarts = adversary.apgd_targeted.n_restarts = 1
        adversary.apgd_targeted.n_target_classes = adversary.fab.n_target_classes = 9
        adversary.square.n_queries = 1000
    adv = adversary.run_standard_evaluation(images, labels, bs=len(x))
    with torch.no_grad():
        return (twin(adv).argmax(1) == labels).numpy()


def main(_):
    """Run the seeds that are not there yet."""
    options = flags.FLAGS
    benches.prepare("tensorflow", "float32", 1)
    import torch

    from benchmarks.torch_twin import to_torch

    sys.path.insert(0, options.official)
    bench = benches.Bench(options.reference, options.network, "float32")
    from support import golden  # Found since the bench has been made.

    count = min(options.points or SIZES[options.network], SIZES[options.network])
    x, y = bench.x[:count], bench.y[:count]
    twin = to_torch(getattr(golden, options.network)())
    with torch.no_grad():
        logits = twin(torch.tensor(np.moveaxis(x, 3, 1).copy())).numpy()
    gap = float(np.abs(logits - np.asarray(bench.classifier.predict(x))).max())
    if gap > 1e-4:
        raise SystemExit(f"The PyTorch twin gives other logits: {gap}")
    name = {v: k for k, v in OFFICIAL_NAMES.items()}[options.attack]
    part = "" if count == SIZES[options.network] else f"_first{count}"
    for seed in map(int, options.seeds):
        key = f"aa_{options.norm}_{name}{part}_seed{seed}"
        path = pathlib.Path(options.out) / "official" / f"{options.network}_{key}.npz"
        if path.exists():
            continue
        began = time.perf_counter()
        verdicts = judge(
            twin,
            x,
            y,
            attack=options.attack,
            norm=options.norm,
            epsilon=EPSILON[options.network, options.norm],
            seed=seed,
        )
        seconds = time.perf_counter() - began
        held = io.BytesIO()
        np.savez(held, **{f"{key}/robust": verdicts, f"{key}/seconds": seconds})
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, held.getvalue())
        print(f"{path.name}: {100 * verdicts.mean():.2f} % of {count}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    app.run(main)
