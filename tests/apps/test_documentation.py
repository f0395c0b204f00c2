"""The README's and the documentation's Python runs as printed."""

import ast
import pathlib
import re

import keras
import pytest

import export

ROOT = pathlib.Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def blocks(name):
    return BLOCK.findall((ROOT / name).read_text())


def test_the_readme_judges_as_the_page_does():
    assert blocks("README.md")[1:] == blocks("docs/judging.md")


@pytest.mark.parametrize("number", range(3))
def test_judging_page(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((28, 28, 1))
    network = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
    network.save("my.keras")
    if number == 1:
        export.onnx(network, "my.onnx")
    source = blocks("docs/judging.md")[number]
    assert len(source.strip().splitlines()) <= 5
    exec(compile(source, "judging.md", "exec"), {})
    printed = capsys.readouterr().out.split()
    robust = float(printed[1] if number == 0 else printed[0])
    assert 0 <= robust <= 1
    if number == 0:
        assert (tmp_path / "report.html").exists()


def test_judging_page_tells_every_finding():
    found, variable = set(), re.compile("zero-gradient.*|.*-stronger")
    for path in (ROOT / "sharedkeras" / "evaluation").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "Finding":
                found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
            if isinstance(node, ast.Constant) and variable.fullmatch(str(node.value)):
                found.add(node.value)
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/judging.md").read_text(), re.MULTILINE)
    told = set(re.findall("`(.*?)`", " ".join(rows)))
    assert len(found) > 10
    assert found <= told


@pytest.mark.slow_on_jax
def test_readme_example(capsys):
    source = blocks("README.md")[0]
    # The same lines with less of everything; on two cores the whole takes a minute.
    for long, short in (
        ("steps=7", "steps=1"),
        ("steps=40", "steps=2"),
        ('"mnist-mini", "train")', '"mnist-mini", "train", validation_size=9000)'),
        ("[:500]", "[:50]"),
    ):
        assert long in source
        source = source.replace(long, short)
    exec(compile(source, "README.md", "exec"), {})
    clean, robust = map(float, capsys.readouterr().out.split()[-2:])
    assert 0.2 < clean <= 1
    assert robust <= clean


def test_a_dozen_lines():
    source = blocks("README.md")[0]
    code = [line for line in source.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(code) <= 12
