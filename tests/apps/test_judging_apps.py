"""apps/evaluate.py and apps/attack.py on files, with surrogates and with the fuller checks."""

import importlib
import json

import keras
import numpy as np
import pytest
from app_support import opening
from support import onnx_files
from support.applications import drive

from sharedkeras import data, evaluation

DIGIT = (28, 28, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run with an exported file, a file of other origin, a Keras network, and one of three classes."""
    root = tmp_path_factory.mktemp("judging")
    onnx_files.write_export(root / "run/exports/digits.onnx", DIGIT, class_names="0123456789")
    onnx_files.write(root / "other.onnx", DIGIT, channels_first=True)
    for name, classes in (("linear", 10), ("three", 3)):
        inputs = keras.Input(DIGIT)
        logits = keras.layers.Dense(classes, name="logits")(keras.layers.Flatten()(inputs))
        network = keras.Model(inputs, logits, name=name)
        if name == "linear":
            matrix = onnx_files.weights(DIGIT).reshape(-1, 10)
            network.get_layer("logits").set_weights([matrix, np.zeros(10, "float32")])
        network.save(root / f"{name}.keras")
        network.save(root / f"{name}.h5")
    (root / "my_layers.py").write_text(MY_LAYERS)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(root)
    scaled = importlib.import_module("my_layers").Scaled()
    for name, layer in (("custom", scaled), ("code", keras.layers.Lambda(lambda x: x / 2))):
        inputs = keras.Input(DIGIT)
        network = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(layer(inputs))))
        network.save(root / f"{name}.keras")
    monkeypatch.undo()
    (root / "run/config.json").write_text(json.dumps({"dataset": "mnist-mini"}))
    return root


MY_LAYERS = """
import keras

class Scaled(keras.layers.Layer):
    def call(self, x):
        return x / 2
"""
FEW = ["--eval_examples=200", "--batch_size=64"]
MINI = "--dataset=mnist-mini"
EVALUATE = {
    "export": [
        "--network=run/exports/digits.onnx",
        "--epsilon=0.02",
        "--queries=3",
        "--resume_from=journal",
        "--run_dir=export",
        *FEW,
    ],
    "norm": [
        "--network=other.onnx",
        "--attacks=natural,square",
        MINI,
        "--queries=3",
        "--norm=l2",
        "--epsilon=0.5",
        "--run_dir=norm",
        *FEW,
    ],
    "transfer": [
        "--network=other.onnx",
        "--surrogate=linear.keras",
        "--attacks=fgsm",
        MINI,
        "--epsilon=0.02",
        "--run_dir=transfer",
        *FEW,
    ],
    "sanity": [
        "--network=linear.keras",
        "--attacks=fgsm,square",
        MINI,
        "--epsilon=0.02",
        "--queries=3",
        "--sanity",
        "--run_dir=sanity",
        *FEW,
    ],
}
FURTHER = {
    "hdf5": ["--network=linear.h5", "--attacks=fgsm", MINI, "--epsilon=0.02", *FEW],
    "first": ["--network=linear.keras", "--attacks=fgsm", MINI, "--subset=first", *FEW],
    "stride": ["--network=linear.keras", "--attacks=fgsm", MINI, "--subset=stride", *FEW],
    "seed": ["--network=linear.keras", "--attacks=fgsm", MINI, "--seed=5", *FEW],
    "all": ["--network=linear.keras", "--attacks=fgsm", MINI],
    "custom": ["--network=custom.keras", "--import=my_layers", "--attacks=fgsm", MINI, *FEW],
    "code": ["--network=code.keras", "--trust", "--attacks=fgsm", MINI, *FEW],
}
EVALUATE |= {name: [*flags, f"--run_dir={name}"] for name, flags in FURTHER.items()}
OURS = "--network=run/exports/digits.onnx"
ESTIMATE = ["--network=linear.keras", MINI, "--attacks=autoattack", "--version=estimate", *FEW]
# So large a ball that nobody survives the first attack.
EVALUATE["estimate"] = [*ESTIMATE, "--epsilon=0.9", "--precision=0.1", "--run_dir=estimate"]
MISTAKES = [
    ([OURS, "--attacks=pgd20"], "pgd20: this needs gradients"),
    ([OURS, "--attacks=pgd20"], "--attacks=autoattack (its black-box part, Square)"),
    ([OURS, "--attacks=cw"], "Possible: "),
    ([OURS, "--attacks=autoattack,square"], "autoattack stands alone"),
    ([OURS, "--attacks=autoattack", "--version=rand"], "--version"),
    ([OURS, "--sanity"], "--sanity"),
    ([OURS, "--norm=l2"], "epsilon"),
    ([OURS, "--surrogate=three.keras", "--attacks=fgsm"], "3 and 10 classes"),
    ([OURS, "--surrogate=other.onnx", "--attacks=fgsm"], "only these"),
    ([OURS, "--surrogate=linear.keras", "--shard=0/2"], "--shard"),
    (["--network=other.onnx"], "not written by"),
    (["--network=other.onnx", "--dataset=cifar10"], "other images"),
    (["--network=gone.onnx", MINI], "There is no such file"),
    (["--network=linear.keras"], "Expected: --dataset"),
    (["--network=linear.keras", MINI, "--attacks=autoattack", "--queries=3"], "--queries"),
    (["--network=linear.keras", MINI, "--attacks=pgd"], "Unknown attack"),
    (["--network=linear.keras", MINI, "--precision=0.1"], "goes with --version=estimate"),
    (["--network=linear.keras", MINI, "--version=estimate"], "goes with --attacks=autoattack"),
    ([*ESTIMATE, "--shard=0/2"], "--resume_from=<directory of this slice>"),
    ([*ESTIMATE, "--plan=report.json"], "`--plan` goes with --shard"),
    ([*ESTIMATE, "--precision=0"], "`precision` must be a fraction in (0, 1]"),
    (["--network=code.keras", MINI], "--trust"),
    (["--network=code.keras", MINI, "--import=no_such_module"], "no_such_module"),
]


@pytest.fixture(scope="module")
def evaluated(root):
    """What each run said, by name; the mistakes after them."""
    runs = [*EVALUATE.values(), *(argv for argv, _ in MISTAKES)]
    said = drive("evaluate", runs, root)
    return dict(zip([*EVALUATE, *range(len(MISTAKES))], said, strict=True))


def report_of(root, name, evaluated):
    code, said = evaluated[name]
    assert code == 0, said
    assert (root / name / "report.html").exists()
    return json.loads((root / name / "report.json").read_text()), said


def test_an_estimate_is_asked_for_and_told(root, evaluated):
    report, said = report_of(root, "estimate", evaluated)
    assert report["settings"]["version"] == "estimate"
    assert report["estimate"]["precision"] == 0.1
    assert report["estimate"]["value"] == report["robust"] == 0
    assert "estimate of AutoAttack standard: 0.0 % (exact), 0 of 0 survivors judged in full" in said


def test_an_exported_file_is_judged_by_square(root, evaluated):
    report, said = report_of(root, "export", evaluated)
    assert list(report["accuracy"]) == ["square"]
    assert 0 < report["robust"] < report["clean"]
    assert report["settings"]["dataset"] == "mnist-mini"
    assert report["settings"]["network"] == "linear"
    assert report["settings"]["attacks"]["square"]["queries"] == 3
    assert report["label_names"] == list("0123456789")
    assert report["findings"][0]["code"] == "upper-bound" and report["verdict"] == "doubtful"
    assert "Only the black-box part of AutoAttack ran" in said
    assert "200 examples" in said
    # What is kept is kept by the file's content.
    digest = report["settings"]["file_sha256"]
    assert (root / "journal" / digest[:16] / "evaluation.json").exists()


def test_the_norm_is_honoured(root, evaluated):
    report, _ = report_of(root, "norm", evaluated)
    assert report["settings"]["norm"] == report["settings"]["attacks"]["square"]["norm"] == "l2"
    assert report["robust"] < report["clean"]


def test_transfer_to_a_file(root, evaluated):
    report, said = report_of(root, "transfer", evaluated)
    assert list(report["accuracy"]) == ["transfer-fgsm"]
    assert report["settings"]["surrogate"] == "linear"
    # The surrogate is the same network, so that this is an attack with its gradients.
    assert report["robust"] < report["clean"]
    assert "crafted on another network" in said


def test_sanity_and_square_of_a_keras_network(root, evaluated):
    report, _ = report_of(root, "sanity", evaluated)
    assert list(report["accuracy"]) == ["fgsm", "square"]
    assert report["settings"]["sanity"]["examples"] == 64
    assert set(report["settings"]["sanity"]["found"]) <= {f["code"] for f in report["findings"]}


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_mistakes_are_told_before_any_work(number, root, evaluated):
    code, said = evaluated[number]
    assert code == 2
    assert MISTAKES[number][1] in said
    assert "examples" not in said and not (root / "runs").exists()


def test_hdf5_gives_what_keras_gives(root, evaluated):
    older, newer = (report_of(root, name, evaluated)[0]["flags"] for name in ("hdf5", "sanity"))
    assert (older["clean"], older["fgsm"]) == (newer["clean"], newer["fgsm"])


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("hdf5", {"subset": "random", "subset_seed": 0}, "a random choice with seed 0 of 2,000"),
        ("seed", {"subset": "random", "subset_seed": 5}, "a random choice with seed 5 of 2,000"),
        ("first", {"subset": "first"}, "the first of 2,000"),
        ("stride", {"subset": "stride"}, "every 10-th of 2,000"),
        ("all", {}, "2,000 test images of mnist-mini\n"),
    ],
)
def test_the_report_says_which_images(root, name, settings, words, evaluated):
    _, said = report_of(root, name, evaluated)
    assert words in said
    report, whole = (evaluation.Report.from_json(root / n / "report.json") for n in (name, "all"))
    assert {k: v for k, v in report.settings.items() if k.startswith("subset")} == settings
    seed = settings.get("subset_seed", 0)
    index = data.subset(2000, report.n, method=settings.get("subset", "random"), seed=seed)
    np.testing.assert_array_equal(report.indices, index)
    # The images are those that the numbers say: they are classified as in the whole set.
    np.testing.assert_array_equal(report.flags["clean"], whole.flags["clean"][index])


@pytest.mark.parametrize("name", ["custom", "code"])
def test_layers_of_ones_own(root, name, evaluated):
    report, _ = report_of(root, name, evaluated)
    assert report["n"] == 200


def test_attack_writes_its_examples(root):
    linear = ["--network=linear.keras", MINI, *FEW]
    results = drive(
        "attack",
        [
            [*linear, "--attack=pgd3", "--epsilon=0.02", "--run_dir=pgd"],
            [*linear, "--attack=cw", "--norm=linf"],
            [*linear],
            [*linear, "--attack=magic"],
            [OURS, "--attack=cw"],
        ],
        root,
    )
    code, said = results[0]
    assert code == 0, said
    report = json.loads((root / "pgd/report.json").read_text())
    assert (root / "pgd/report.html").read_text().count("data:image/png") > 3
    with np.load(root / "pgd/adversarial.npz") as archive:
        found = archive["success"].sum()
        assert archive["adversarial"].shape == (200, *DIGIT)
        median = np.median(archive["distance"][archive["success"]])
        settings = json.loads(str(archive["settings"]))["settings"]
    assert report["accuracy"]["pgd3"] < report["clean"]
    assert settings["epsilon"] == 0.02 and settings["dataset"] == "mnist-mini"
    assert f"successes   {found} of 200, median distance {median:.4g} in linf" in said
    words = ("however far", "--attack", "Unknown attack", "Possible: --attack=square")
    for (code, said), word in zip(results[1:], words, strict=True):
        assert code == 2 and word in said
    assert not (root / "runs").exists()


def test_where_networks_come_from(root, monkeypatch):
    monkeypatch.chdir(root)
    file = opening.open_network("run/exports/digits.onnx")
    assert (file.dataset, file.is_file, file.run_dir) == ("mnist-mini", True, None)
    assert file.label_names == tuple("0123456789")
    x = data.load("mnist-mini", "test").x[:4]
    linear = opening.open_network("linear.keras", dataset="mnist-mini")
    assert not linear.is_file and linear.settings == {}
    expected = keras.ops.convert_to_numpy(linear.network(x))
    np.testing.assert_allclose(file.network(x), expected, rtol=1e-3, atol=1e-3)
    other = opening.open_network("other.onnx", dataset="mnist-mini")
    np.testing.assert_allclose(other.network(x), expected, rtol=1e-3, atol=1e-3)
    assert other.label_names is None
    assert other.settings["file_sha256"] != file.settings["file_sha256"]
    known = opening.open_network("mnist-cnn-shared")
    assert known.dataset == "mnist" and known.run_dir is None


def test_datasets_by_images_and_classes(tmp_path):
    cifar = data.info("cifar10")
    onnx_files.write_export(tmp_path / "a.onnx", cifar.input_shape, class_names=cifar.label_names)
    assert opening.open_network(str(tmp_path / "a.onnx")).dataset == "cifar10"
    onnx_files.write_export(tmp_path / "b.onnx", DIGIT, class_names="0123456789")
    with pytest.raises(ValueError, match=r"may be of \['mnist-mini', 'mnist'\]"):
        opening.open_network(str(tmp_path / "b.onnx"))
    onnx_files.write_export(tmp_path / "c.onnx", DIGIT)
    with pytest.raises(ValueError, match=r"does not tell its dataset\. Expected: --dataset"):
        opening.open_network(str(tmp_path / "c.onnx"))
    with pytest.raises(ValueError, match="Unknown data set"):
        opening.open_network(str(tmp_path / "c.onnx"), dataset="svhn")
    with pytest.raises(FileNotFoundError, match="There is no such file"):
        opening.open_network(str(tmp_path / "gone"))


def save_linear(path, also=None):
    """Save a linear classifier by TensorFlow alone; `also(tf)` may do more than compute."""
    tf = pytest.importorskip("tensorflow")
    module = tf.Module()
    module.matrix = tf.Variable(onnx_files.weights(DIGIT).reshape(-1, 10))

    @tf.function(input_signature=[tf.TensorSpec((None, *DIGIT), tf.float32, name="x")])
    def serve(x):
        with tf.control_dependencies([also(tf)] if also else []):
            return {"logits": tf.reshape(x, (-1, 784)) @ module.matrix}

    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})


def test_saved_models_are_files(tmp_path):
    save_linear(tmp_path / "saved")
    opened = opening.open_network(str(tmp_path / "saved"), dataset="mnist-mini")
    assert opened.is_file
    assert opened.network(data.load("mnist-mini", "test").x[:3]).shape == (3, 10)


def test_files_that_do_more_than_compute_are_opened_on_trust_only(tmp_path):
    save_linear(tmp_path / "saved", lambda tf: tf.io.write_file(str(tmp_path / "mark"), "here"))
    arguments = {"source": str(tmp_path / "saved"), "dataset": "mnist-mini"}
    with pytest.raises(ValueError, match=r"WriteFile at .*--trust"):
        opening.open_network(**arguments)
    x = data.load("mnist-mini", "test").x[:3]
    assert opening.open_network(**arguments, trust=True).network(x).shape == (3, 10)
    assert (tmp_path / "mark").read_text() == "here"


def test_onnx_files_with_functions_are_opened_on_trust_only(tmp_path):
    onnx = pytest.importorskip("onnx")
    onnx_files.write(tmp_path / "plain.onnx", DIGIT)
    model = onnx.load(tmp_path / "plain.onnx")
    identity = onnx.helper.make_node("Identity", ["a"], ["b"])
    opsets = [onnx.helper.make_opsetid("", model.opset_import[0].version)]
    function = onnx.helper.make_function("own", "same", ["a"], ["b"], [identity], opsets)
    model.functions.append(function)
    model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    onnx.save(model, tmp_path / "own.onnx")
    arguments = {"source": str(tmp_path / "own.onnx"), "dataset": "mnist-mini"}
    with pytest.raises(ValueError, match="--trust"):
        opening.open_network(**arguments)
    x = data.load("mnist-mini", "test").x[:3]
    assert opening.open_network(**arguments, trust=True).network(x).shape == (3, 10)
