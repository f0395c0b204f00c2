"""The geometry of a report's training curves, drawn as inline SVG by the page's template."""

import re

import numpy as np

_WIDTH, _HEIGHT = 320, 230  # near the width of a panel, so that its text is near the size of the page's
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 8, 8, 40
_MOST_POINTS = 400  # about one per pixel of a panel's width; more would only make the page heavy
_MOST_SERIES = 6  # as many as the page has colours that can be told apart
_X_COLUMNS = ("epoch", "step", "update")
_ACCURACIES = ("natural", "robust", "val_natural", "val_robust")  # beside all that say so
# Columns that measure the run and are no term of the loss.
_NO_TERM = re.compile(
    r"second|time|memory|throughput|examples|epsilon|alpha|beta|gamma|lambda|^lam$|^size$"
)
_SMALLEST = 1e-30  # A value below it is drawn as 0, one above its inverse not at all.
_ALIKE = 1e-9  # Values that differ by a smaller share are drawn as equal.
_WIDE_RANGE = 50.0  # from here on a linear axis flattens the smaller terms into one line


def training_panels(history) -> list[dict]:
    """Lay out the curves of a training run.

    Args:
        history: columns of one length by name, NaN where there is no number; `epoch` (or `step`),
            the loss and its terms, accuracies (those of validation are preferred), `learning_rate`.

    Returns:
        Up to three panels (loss terms, accuracy, learning rate), without those that have no data.
    """
    history = {name: _drawable(column) for name, column in history.items()}
    x_name = next((name for name in _X_COLUMNS if name in history), None)
    length = len(next(iter(history.values()), ()))
    x = np.arange(1.0, length + 1) if x_name is None else history[x_name]
    columns = {
        name: column
        for name, column in history.items()
        if name not in _X_COLUMNS and np.any(np.isfinite(column) & np.isfinite(x))
    }
    rates = [name for name in columns if name in ("learning_rate", "lr")]
    accuracies = [name for name in columns if "acc" in name or name in _ACCURACIES]
    validation = [name for name in accuracies if name.startswith("val")]
    terms = [
        name
        for name in columns
        if name not in rates + accuracies and not name.startswith("val") and not _NO_TERM.search(name)
    ]
    where = " on validation data" if validation else ""
    panels = (
        ("Loss and its terms", "loss", terms, False),
        (f"Accuracy{where}", "accuracy in %", validation or accuracies, True),
        ("Learning rate", "learning rate", rates, False),
    )
    return [
        _panel(title, x_name or "epoch", y_label, x, {name: columns[name] for name in names}, share)
        for title, y_label, names, share in panels
        if names
    ]


def comparison_panel(title, columns, share):
    """Lay out one column of several runs' logs over the epoch.

    Args:
        title: str.
        columns: dict from a run's name to its numbers, one for each epoch.
        share: bool, whether they are shares, to be drawn in percent.

    Returns:
        A panel, or None where there is no number.
    """
    length = max(map(len, columns.values()), default=0)
    x, series = np.arange(1.0, length + 1), {}
    for name, column in columns.items():
        values = np.full(length, np.nan)
        values[: len(column)] = _drawable(column)
        if np.isfinite(values).any():
            series[name] = values
    return _panel(title, "epoch", "%" if share else "", x, series, share) if series else None


def _panel(title, x_label, y_label, x, series, share):
    left_out = list(series)[_MOST_SERIES:]
    series = {name: series[name] * (100.0 if share else 1.0) for name in list(series)[:_MOST_SERIES]}
    values = np.concatenate([y[np.isfinite(y) & np.isfinite(x)] for y in series.values()])
    log = not share and values.min() > 0 and values.max() / values.min() > _WIDE_RANGE
    if share:
        low, high = 0.0, 100.0
        y_ticks = [0, 25, 50, 75, 100]
    else:
        y_ticks = (
            log_ticks(values.min(), values.max())
            if log
            else linear_ticks(min(values.min(), 0), values.max())
        )
        low, high = min(y_ticks[0], values.min()), max(y_ticks[-1], values.max())
    x_low, x_high = _spread(np.nanmin(x[np.isfinite(x)]), np.nanmax(x[np.isfinite(x)]))
    x_ticks = [t for t in linear_ticks(x_low, x_high) if x_low <= t <= x_high and t == round(t)]

    def place_x(value):
        return _LEFT + (value - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)

    def place_y(value):
        ends = (np.log(low), np.log(high)) if log else (low, high)
        value = np.log(value) if log else value
        return _HEIGHT - _BOTTOM - (value - ends[0]) / (ends[1] - ends[0]) * (_HEIGHT - _TOP - _BOTTOM)

    return {
        "title": title,
        "x_label": x_label,
        "y_label": y_label + (" (logarithmic)" if log else ""),
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _WIDTH - _RIGHT,
        "top": _TOP,
        "bottom": _HEIGHT - _BOTTOM,
        "x_ticks": [(round(place_x(t), 1), f"{t:g}") for t in x_ticks],
        "y_ticks": [(round(place_y(t), 1), f"{t:g}") for t in y_ticks],
        "series": [
            _series(i, name, x, y, place_x, place_y, share) for i, (name, y) in enumerate(series.items())
        ],
        "left_out": left_out,
    }


def _series(number, name, x, y, place_x, place_y, share):
    shown = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    last = y[shown[-1]]
    rows = np.arange(len(x))[:: max(1, -(-len(x) // _MOST_POINTS))]
    if len(rows) < len(x):
        rows = np.union1d(rows, shown[-1:])
    # A validation that runs every few epochs leaves gaps that mean nothing, so a line bridges them.
    rows = rows[np.isin(rows, shown)] if np.isin(rows, shown).any() else shown[-1:]
    points = [(place_x(x[i]), place_y(y[i])) for i in rows]
    return {
        "number": number,
        "name": name,
        "path": "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in points),
        "dots": [(round(px, 1), round(py, 1)) for px, py in points] if len(points) <= 2 else [],
        "last": f"{last:.1f} %" if share else f"{last:.3g}",
    }


def linear_ticks(low, high):
    """Return about five round numbers, evenly spaced, that span [low, high]."""
    low, high = _spread(low, high)
    raw = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    # Rounded away from the tail that 3 * 0.1 has.
    return [float(f"{i * step:.12g}") for i in np.arange(first, last + 1)]


def log_ticks(low, high):
    """Return powers of ten that span [low, high], not more than some six of them."""
    first, last = int(np.floor(np.log10(low) + 1e-9)), int(np.ceil(np.log10(high) - 1e-9))
    stride = -(-(last - first) // 5)
    last = first + -(-(last - first) // stride) * stride
    return [float(f"1e{power}") for power in range(first, last + 1, stride)]


def _spread(low, high):
    if high - low > _ALIKE * max(abs(low), abs(high)):
        return low, high
    pad = abs(low) / 2 or 0.5
    return low - pad, high + pad


def _drawable(column):
    """Return a column as floats whose differences and ratios are finite; NaN for what is too large."""
    column = np.array(column, "float64")
    size = np.abs(column)
    column[size > 1 / _SMALLEST] = np.nan
    column[size < _SMALLEST] = 0.0
    return column
