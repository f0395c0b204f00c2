"""A report in a terminal, and the statistics and number formats that every view shares."""

import math

_Z95 = 1.959963984540054  # the standard normal's 97.5 % quantile


def wilson(successes, n):
    """Return the 95 % confidence interval of a share, after Wilson.

    It stays within [0, 1] and has a width also where all or none succeeded, which the textbook
    interval has not, and both are usual for robust accuracies.

        (s + z^2 / 2) / (n + z^2)  +-  z / (n + z^2) * sqrt(s (n - s) / n + z^2 / 4)

    Args:
        successes: how many of them, 0 <= successes <= n.
        n: number of independent trials, at least 1.

    Returns:
        `(low, high)` in [0, 1], with low <= successes / n <= high.

    Raises:
        ValueError: if the counts are impossible.

    Reference:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(
            f"A share needs 0 <= successes <= n and n >= 1. Received: successes={successes}, n={n}"
        )
    z2 = _Z95**2
    centre = (successes + z2 / 2) / (n + z2)
    half = _Z95 / (n + z2) * math.sqrt(successes * (n - successes) / n + z2 / 4)
    # The ends are exact in theory; rounding must not put the share outside its own interval.
    share = successes / n
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def percent(share, n) -> str:
    """Write a share of n in percent, with no more digits than n examples can tell apart."""
    return f"{100 * share:.{1 if n <= 1000 else 2}f}"


def text_table(report) -> str:
    """Lay out a report for a terminal.

    Args:
        report: a `Report`.

    Returns:
        Aligned lines without a trailing newline: clean, each attack, the worst case, the verdict.
    """
    n = report.n
    shares = {"clean": report.clean, **report.accuracy}
    lines = [(name, shares[name], report.seconds.get(name)) for name in shares]
    total = sum(report.seconds.values()) if report.seconds else None
    lines.append(("worst case", report.robust, total))
    cells = [("attack", "accuracy %", "95 % interval", "seconds")]
    for name, share, seconds in lines:
        low, high = wilson(round(share * n), n)
        name = "".join(c if c.isprintable() else "?" for c in name)
        spent = "-" if seconds is None else f"{seconds:.1f}"
        cells.append((name, percent(share, n), f"{percent(low, n)} - {percent(high, n)}", spent))
    widths = [max(len(row[i]) for row in cells) for i in range(4)]
    rows = [
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2, 3))])
        for row in cells
    ]
    rule = "-" * len(rows[0])
    how = "a cascade: each row is what is left after it" if report.cascade else "each attack alone"
    return "\n".join(
        [
            f"{n} examples, {how}",
            rows[0],
            rule,
            *rows[1:-1],
            rule,
            rows[-1],
            *([] if report.estimate is None else [_quoted(report.estimate)]),
            f"Verdict: {report.verdict}. {report.verdict_sentence}",
        ]
    )


def _quoted(estimate):
    cost = f"{100 * estimate.cost:.0f} % of its forward passes"
    return f"{estimate.sentence}; {cost}. The rows above are upper bounds."
