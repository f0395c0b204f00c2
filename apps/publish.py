"""Puts a finished run into the zoo, with the card that its files prove, or renews a card's evidence.

python apps/evaluate.py --network=runs/mine --attacks=autoattack --eval_examples=1000
python apps/evaluate.py --network=runs/mine --attacks=pgd20,cw --eval_examples=1000 --run_dir=runs/more
python apps/publish.py --run_dir=runs/mine --name=mnist-cnn-mine --reports=runs/more/report.json
python apps/publish.py --name=mnist-cnn-shared --reports=runs/a/report.json,runs/b/report.json
"""

from absl import flags
from app_support import ending, start_up

flags.DEFINE_string(
    "run_dir",
    None,
    "Directory of the run. Without one the network of that name is there already, and its "
    "card's evidence becomes that of --reports, the first one's before all.",
)
flags.DEFINE_string("name", None, "Name in the zoo.", required=True)
flags.DEFINE_list("reports", [], "Report.json files on the same images, beside the run's own.")
flags.DEFINE_enum("dtype", "float32", ["float32", "float16"], "How the weights are stored.")
flags.DEFINE_string("hardware", "", "What the run was made on.")
flags.DEFINE_bool("replace", False, "Whether to replace a network of that name.")
flags.DEFINE_string("data_dir", None, "Directory of the data; default: that of TensorFlow Datasets.")
FLAGS = flags.FLAGS
_OF_A_RUN = ("dtype", "hardware", "replace")
_NEXT = "next: python apps/browse_zoo.py --readme=README.md"


def main(_):
    """Publish or renew."""
    if FLAGS.run_dir is None:
        for name in _OF_A_RUN:
            if FLAGS[name].present:
                raise ValueError(
                    f"--{name} is of a run that is published. Expected --run_dir beside it. "
                    f"Received: --{name}={FLAGS[name].value}"
                )
    start_up.prepare_frameworks()
    import zoo

    if FLAGS.run_dir is None:
        card = zoo.renew(FLAGS.name, FLAGS.reports, data_dir=FLAGS.data_dir)
        print(f"card {card}\n{_NEXT}")
        return
    card = zoo.publish(
        FLAGS.run_dir,
        FLAGS.name,
        reports=FLAGS.reports,
        dtype=FLAGS.dtype,
        hardware=FLAGS.hardware,
        replace=FLAGS.replace,
        data_dir=FLAGS.data_dir,
    )
    print(f"card {card}\n{_NEXT}")


if __name__ == "__main__":
    ending.run(main)
