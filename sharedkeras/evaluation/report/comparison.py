"""A page that compares training runs."""

from sharedkeras.evaluation.report import charts

_COLUMNS = (
    ("val_robust", "Robust accuracy on validation images", True),
    ("val_natural", "Natural accuracy on validation images", True),
    ("loss", "Loss", False),
)


def comparison_page(head, rows, histories) -> str:
    """Lay out a table of runs and their curves as an HTML page.

    Args:
        head: the columns' names.
        rows: list of sequences of texts, one for each run.
        histories: dict from a run's name to its log, columns by name.

    Returns:
        The page as text. Everything that came from outside is escaped.
    """
    from sharedkeras.evaluation.report.html import environment  # Late: only pages need templates.

    panels = [
        charts.comparison_panel(title, {name: log[column] for name, log in histories.items()}, share)
        for column, title, share in _COLUMNS
        if histories and all(column in log for log in histories.values())
    ]
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(head=head, rows=rows, panels=[panel for panel in panels if panel])
    )
