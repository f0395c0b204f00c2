"""The geometry of an estimate's picture: survivors by margin, who was judged in full, who was broken."""

import numpy as np

from sharedkeras.evaluation.report.charts import linear_ticks

_WIDTH, _HEIGHT = 660, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 12, 42
_MOST_DOTS = 1500
_SCREEN = 4  # APGD-CE, and APGD-T in three parts: a survivor's margin is the smallest that they left.


def margin_plot(report):
    """Lay out whom the first two attacks of an estimate leave by the margin that APGD left them.

    Args:
        report: `Report` with an `estimate` and `margins`.

    Returns:
        Dict for the template, or None where nobody survived or no margins are kept.
    """
    if report.estimate is None or not report.margins or not report.estimate.survivors:
        return None
    names = [name for name in report.flags if name != "clean"]
    screen = names[:_SCREEN]
    margin = np.fmin.reduce([report.margins[name] for name in screen])
    rows = np.flatnonzero(report.flags[screen[1]])
    rows = rows[np.lexsort((report.indices[rows], margin[rows]))]
    broken = ~report.robust_flags[rows]
    judged = broken.copy()
    if len(names) > len(screen):
        judged |= np.isfinite(report.margins[names[-1]][rows])
    heights = margin[rows].astype("float64")
    ticks = linear_ticks(0.0, max(float(heights.max()), 1e-6))
    high = max(ticks[-1], heights.max())
    span = max(len(rows) - 1, 1)

    def place_x(rank):
        return _LEFT + rank / span * (_WIDTH - _LEFT - _RIGHT)

    def place_y(value):
        return _HEIGHT - _BOTTOM - max(value, 0.0) / high * (_HEIGHT - _TOP - _BOTTOM)

    def dots(chosen):
        ranks = np.flatnonzero(chosen)
        ranks = ranks[:: max(1, -(-len(ranks) // _MOST_DOTS))]
        return [(round(place_x(r), 1), round(place_y(heights[r]), 1)) for r in ranks]

    line = range(0, len(rows), max(1, -(-len(rows) // _MOST_DOTS)))
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "bottom": _HEIGHT - _BOTTOM,
        "path": "M" + "L".join(f"{place_x(r):.1f} {place_y(heights[r]):.1f}" for r in line),
        "judged": dots(judged & ~broken),
        "broken": dots(broken),
        "named": [int(number) for number in report.indices[rows[broken]]],
        "census_end": round(place_x(span if judged.all() else int(np.argmin(judged))), 1),
        "y_ticks": [(round(place_y(tick), 1), f"{tick:g}") for tick in ticks],
        "survivors": len(rows),
    }
