#!/bin/sh
# Starts or resumes the training of a recipe on one thread, in the background's priority.
#   benchmarks/zoo/train.sh RECIPE RUN_DIR [flags of apps/train.py]
set -e
recipe=$1
run_dir=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
export PYTHONPATH="$root" TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1
export TF_ENABLE_ONEDNN_OPTS=1
resume=
[ -f "$run_dir/config.json" ] && resume=--resume
exec nice -n 19 python -u "$root/apps/train.py" --recipe="$recipe" --run_dir="$run_dir" $resume "$@"
