"""A report as one self-contained page: no script, no network, readable on a phone and in the dark."""

import csv
import functools
import json
from pathlib import Path

import jinja2
import numpy as np

from sharedkeras.evaluation.report import charts, pictures
from sharedkeras.evaluation.report.margin_plot import margin_plot
from sharedkeras.evaluation.report.text import percent, wilson
from sharedkeras.evaluation.report.validation import checked_history

_TEMPLATES = Path(__file__).parent / "templates"
_NORMS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}
_AUTOATTACK = ("standard", "plus", "rand", "quick")
_VERDICT_CLASSES = {"trustworthy": "good", "doubtful": "doubt", "not usable": "bad"}
# Shown in the headline or in a section of their own.
_SHOWN_ELSEWHERE = ("attacks", "command")


def render(report, *, run=None) -> str:
    """Lay out a report as an HTML page.

    Args:
        report: a `Report`.
        run: directory of the training run, whose `metrics.csv` stands in for a missing `history`.

    Returns:
        The page as text. Everything that came from outside is escaped.
    """
    history = report.history
    if history is None and run is not None:
        history = read_history(run)
    rows, worst = _rows(report)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=_title(report.settings),
            subtitle=_subtitle(report),
            report=report,
            verdict_class=_VERDICT_CLASSES[report.verdict],
            clean=rows[0],
            worst=worst,
            rows=rows,
            estimate=_estimate(report),
            margins=margin_plot(report),
            attack_rows=_attack_rows(report.settings.get("attacks")),
            panels=charts.training_panels(history) if history else [],
            pictures=_pictures(report),
            commands=_lines(report.settings.get("command")),
            settings=[(k, _shown(v)) for k, v in report.settings.items() if k not in _SHOWN_ELSEWHERE],
        )
    )


@functools.cache
def environment():
    """Return the templates of the pages, which escape what comes from outside."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def read_history(run):
    """Read the training curves of a run directory.

    Args:
        run: path of the directory.

    Returns:
        Columns by name, with NaN for a cell without a number; None if there is no `metrics.csv`.

    Raises:
        ValueError: if the file is no table in UTF-8.
    """
    path = Path(run) / "metrics.csv"
    if not path.exists():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"Not a table of metrics: {error}. Received: path={path}") from error
    return checked_history({name: [row[name] for row in rows] for name in rows[0]}) if rows else None


def _title(settings):
    network, dataset = settings.get("network"), settings.get("dataset")
    if network and dataset:
        return f"{_shown(network)} on {_shown(dataset)}"
    return _shown(network or dataset or "An image classifier")


def _subtitle(report):
    settings, parts = report.settings, [f"{report.n:,} example{'' if report.n == 1 else 's'}"]
    norm, epsilon = (_common_value(settings, name) for name in ("norm", "epsilon"))
    if epsilon is not None:
        ball = f"{_NORMS.get(str(norm), _shown(norm))} ball" if norm else "ball"
        parts.append(f"{ball} of radius {_radius(epsilon)}")
    if settings.get("version"):
        name = "AutoAttack" if settings["version"] in _AUTOATTACK else "attacks:"
        if report.estimate is not None:
            parts.append("an estimate of AutoAttack standard")
        else:
            parts.append(f"{name} {_shown(settings['version'])}")
    parts.append(f"seed {report.seed}")
    if isinstance(settings.get("shard"), list) and len(settings["shard"]) == 2:
        slice_, count = settings["shard"]
        parts.append(f"slice {_shown(slice_)} of {_shown(count)}, counted from 0")
    return parts


def _common_value(settings, name):
    """Return a setting of the evaluation or, without one, what all attacks agree on."""
    if settings.get(name) is not None:
        return settings[name]
    attacks = settings.get("attacks")
    attacks = list(attacks.values()) if isinstance(attacks, dict) else []
    values = [attack.get(name) if isinstance(attack, dict) else None for attack in attacks]
    return values[0] if values and all(value == values[0] for value in values) else None


def _radius(epsilon):
    """Write 0.03137... as people say it: 8/255."""
    if isinstance(epsilon, float):
        steps = min(epsilon, 1.0) * 255
        # A float32 that went through Python still counts: its relative error is below 1e-7.
        if steps >= 0.5 and abs(steps - round(steps)) < 1e-6 * steps and round(epsilon, 3) != epsilon:
            return f"{round(steps)}/255"
        return f"{epsilon:.4g}"
    return _shown(epsilon)


def _rows(report):
    def row(name, share, **more):
        low, high = wilson(round(share * report.n), report.n)
        return {
            "name": name,
            "share": share,
            "percent": percent(share, report.n),
            "standing": round(share * report.n),
            "low": low,
            "high": high,
            "low_percent": percent(low, report.n),
            "high_percent": percent(high, report.n),
            "broken": None,
            "seconds": None,
            "distance": None,
            **more,
        }

    def seconds(value):
        return None if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"

    rows = [row("clean", report.clean, seconds=seconds(report.seconds.get("clean")))]
    for name, share in report.accuracy.items():
        distance = np.asarray((report.distance or {}).get(name, ()))
        distance = distance[np.isfinite(distance)]
        rows.append(
            row(
                name,
                share,
                broken=report.broken[name],
                seconds=seconds(report.seconds.get(name)),
                distance=f"{np.median(distance):.3g}" if len(distance) else None,
            )
        )
    worst = row(
        "worst case",
        report.robust,
        broken=int(np.sum(report.flags["clean"] & ~report.robust_flags)),
        seconds=seconds(sum(report.seconds.values()) if report.seconds else None),
    )
    return rows, worst


def _estimate(report):
    found = report.estimate
    if found is None:
        return None
    return {
        "sentence": f"{found.sentence[0].upper()}{found.sentence[1:]}",
        "value": found.percent(found.value),
        "low": found.percent(found.low),
        "high": found.percent(found.high),
        "note": "exact" if found.exact else f"with {100 * found.confidence:g} % confidence",
        "cost": f"{100 * found.cost:.0f}",
    }


def _pictures(report):
    clean, adversarial = report.images, report.adversarial
    if clean is None or adversarial is None or clean.ndim != 4:
        return None
    chosen = pictures.choose(report.flags["clean"], report.robust_flags, report.labels)
    if not len(chosen):
        return None
    factor = pictures.amplification(adversarial[chosen] - clean[chosen])
    return {
        "factor": f"{factor:g}",
        "coloured": clean.shape[-1] != 1,
        "shrunk": max(clean.shape[1:3]) > 96,
        "examples": [_picture(report, i, factor) for i in chosen],
    }


def _picture(report, i, factor):
    def label(of):
        if of is None:
            return None
        names = report.label_names or ()
        return names[of[i]] if 0 <= of[i] < len(names) else str(of[i])

    predictions = report.predictions or {}
    perturbation = report.adversarial[i] - report.images[i]
    picture = pictures.perturbation_picture(perturbation, factor)
    return {
        "number": int(report.indices[i]),
        "broken": not report.robust_flags[i],
        "moved": bool(np.any(perturbation)),
        "label": label(report.labels),
        "clean_label": label(predictions.get("clean")),
        "adversarial_label": label(predictions.get("adversarial")),
        "clean": pictures.data_uri(report.images[i]),
        "adversarial": pictures.data_uri(report.adversarial[i]),
        "perturbation": pictures.data_uri(picture),
    }


def _attack_rows(attacks):
    if not isinstance(attacks, dict):
        return [] if attacks is None else [("", _shown(attacks))]
    return [(name, _shown(value)) for name, value in attacks.items()]


def _shown(value):
    if isinstance(value, dict):
        # An attack as it is written in Python.
        kind = value.get("attack", value.get("class"))
        fields = ", ".join(f"{k}={_shown(v)}" for k, v in value.items() if k not in ("attack", "class"))
        return f"{kind}({fields})" if kind else fields
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _lines(command):
    """Cut command lines into lines and words, so that the page can break between words."""
    commands = command if isinstance(command, list) else [command] if command else []
    return [line.split(" ") for entry in commands for line in str(entry).splitlines()]
