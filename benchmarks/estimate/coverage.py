"""Replays estimates on stored full verdicts: does the interval hold the verdict, and what does it cost?

    python -m benchmarks.estimate.coverage

Every file of `benchmarks/estimate/verdicts` is taken as it is and, its examples repeated, at n = 10,000;
the audit is drawn anew a thousand times, with the margins and verdicts as they were measured. `far`
are made-up networks: a measured one of which further points, spread over all survivors whatever their
margin, fall to the last attack only. Printed as a table in Markdown.
"""

import pathlib

import numpy as np
from absl import app, flags

from benchmarks.estimate.simulation import NEVER, Verdicts, replay
from sharedkeras.evaluation.estimating.plan import Question

flags.DEFINE_string(
    "verdicts", str(pathlib.Path(__file__).parent / "verdicts"), "Directory of the files."
)
flags.DEFINE_integer("redraws", 1000, "Audits of each network.")
flags.DEFINE_float("confidence", 0.95, "Of the interval.")
FLAGS = flags.FLAGS
CASES = ((None, 0.01), (10_000, 0.002))
"""Examples (None: as they are) and the precision asked for."""
FAR = (0.01, 0.03, 0.10)
_HEAD = ("network", "n", "precision", "standard", "held", "mean error", "cost", "judged")


def read(path):
    """Return the `Verdicts` of a file."""
    with np.load(path) as archive:
        passes = archive["passes"].astype("float64")
        # Of an attack that an example was not shown, what the most expensive of the others cost.
        passes = np.where(np.isfinite(passes), passes, np.nanmax(passes, axis=0, initial=0.0))
        return Verdicts(archive["broken_at"].astype(int), archive["margin"].astype("float64"), passes)


def with_far_points(verdicts, share, seed):
    """Return verdicts in which a share of all examples, drawn of the robust ones, falls at the last."""
    robust = np.flatnonzero(verdicts.broken_at > NEVER)
    count = min(round(share * len(verdicts.broken_at)), len(robust))
    fallen = np.random.default_rng(seed).choice(robust, count, replace=False)
    broken_at = verdicts.broken_at.copy()
    broken_at[fallen] = NEVER
    return verdicts._replace(broken_at=broken_at)


def row(name, verdicts, precision):
    """Return a line of the table."""
    question = Question(precision=precision, confidence=FLAGS.confidence)
    truth, n = verdicts.robust, len(verdicts.broken_at)
    found = [replay(verdicts, seed, question) for seed in range(FLAGS.redraws)]
    held = np.mean([e.low - 1e-9 <= truth <= e.high + 1e-9 for e in found])
    error = np.mean([abs(e.value - truth) for e in found])
    cost, judged = np.mean([e.cost for e in found]), np.mean([e.judged for e in found])
    return (
        name,
        f"{n:,}",
        f"{100 * precision:g}",
        f"{100 * truth:.2f} %",
        f"{100 * held:.1f} %",
        f"{100 * error:.3f}",
        f"{cost:.3f}",
        f"{judged:,.0f} of {found[0].survivors:,}",
    )


def main(_):
    """Replay all, print the table."""
    print(
        f"{FLAGS.redraws} audits each, {100 * FLAGS.confidence:g} %; errors and precision in points.\n"
    )
    print("| " + " | ".join(_HEAD) + " |\n|" + " --- |" * len(_HEAD))
    for path in sorted(pathlib.Path(FLAGS.verdicts).glob("*.npz")):
        verdicts = read(path)
        for n, precision in CASES:
            cases = {path.stem: verdicts}
            cases |= {f"{path.stem}, {100 * s:g} % far": with_far_points(verdicts, s, 0) for s in FAR}
            for name, case in cases.items():
                case = case if n is None else case.replicated(n)
                print("| " + " | ".join(row(name, case, precision)) + " |", flush=True)


if __name__ == "__main__":
    app.run(main)
