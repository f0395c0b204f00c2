"""Flags that several applications have."""

from absl import flags

from app_support import own_code


def define_common_flags():
    """Define the flags of the applications that train or attack."""
    flags.DEFINE_integer("seed", None, "Seed of everything random; default: the recipe's, or 0.")
    flags.DEFINE_string("data_dir", None, "Directory of the data; default: that of TensorFlow Datasets.")
    flags.DEFINE_string("run_dir", None, "Directory of the run; default: a new one in runs/.")
    flags.DEFINE_integer("batch_size", None, "Examples at once; default: the recipe's, or 128.")
    flags.DEFINE_bool("download", True, "Whether to download absent data through TensorFlow Datasets.")


def define_judging_flags():
    """Define the flags of the applications that attack a network."""
    flags.DEFINE_string(
        "network", None, "Run directory, .keras, .h5 or .onnx file, SavedModel, or name of the zoo."
    )
    flags.DEFINE_string(
        "dataset",
        None,
        "Dataset: a name, an .npz file, a folder of images by class, or a name of TensorFlow Datasets; "
        "default: the one of the run, of the zoo's card or of the export.",
    )
    flags.DEFINE_enum("norm", "linf", ["linf", "l2", "l1"], "Norm of the ball; cw is in L2 always.")
    flags.DEFINE_float(
        "epsilon", None, "Size of the ball; default: in Linf the paper's for the dataset."
    )
    flags.DEFINE_integer("queries", 5000, "Queries of Square for each image.", lower_bound=1)
    flags.DEFINE_integer("eval_examples", None, "Test images attacked; default: all.", lower_bound=1)
    define_subset_flag()
    own_code.define_flags()
    flags.DEFINE_string(
        "resume_from",
        None,
        "Directory that keeps finished batches; default: one that is removed at the end.",
    )
    flags.DEFINE_enum("weights", "best", ["best", "last"], "Which weights of a run.")


def define_subset_flag():
    """Define the flag that says which images are attacked where not all are."""
    flags.DEFINE_enum(
        "subset",
        "random",
        ["first", "stride", "random"],
        "Which images --eval_examples takes: the first, every so many-th, or a random choice by --seed.",
    )
