#!/bin/sh
# Judges a finished run on 1,000 random test images and puts it into the zoo, its weights as float16.
#   benchmarks/zoo/judge_and_publish.sh RUN_DIR NAME HARDWARE [flags of apps/evaluate.py]
# The run must have been trained with --eval_examples=0, so that AutoAttack's report is its own. What is
# judged is kept beside the run: the same command goes on where it was stopped.
set -e
run_dir=$1
name=$2
hardware=$3
shift 3
root=$(cd "$(dirname "$0")/../.." && pwd)
export PYTHONPATH="$root" TF_ENABLE_ONEDNN_OPTS=1
judge() {
    attacks=$1
    shift
    python -u "$root/apps/evaluate.py" --network="$run_dir" --attacks="$attacks" --round_weights=float16 \
        --eval_examples=1000 --subset=random --seed=0 "$@"
}
judge autoattack --sanity --resume_from="$run_dir/judged" "$@"
judge natural,fgsm,pgd20,pgd40,cw --run_dir="$run_dir/more" "$@"
python "$root/apps/publish.py" --run_dir="$run_dir" --name="$name" --dtype=float16 --hardware="$hardware" \
    --reports="$run_dir/more/report.json"
