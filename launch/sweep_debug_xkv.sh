#!/usr/bin/env bash
# The runs of configs/sweeps/debug_xkv.toml, a task of an array for each: sbatch launch/sweep_debug_xkv.sh [section.key=value ...]
# launch/job.sh says what can be set; flags of sbatch override those below. --dry-run shows what would be submitted.
#SBATCH --job-name=debug_xkv --array=0-5
#SBATCH --ntasks-per-node=8
#SBATCH --requeue --open-mode=append --signal=B:USR1@120
set -uo pipefail
here=$(dirname "$0")
# sbatch runs a copy of this script elsewhere; Slurm knows where the original is.
if [[ ! -f $here/job.sh ]]; then here=$(scontrol show job "$SLURM_JOB_ID" | sed -n '/^ *Command=/{s///;s|/sweep_debug_xkv\.sh.*||;p;q}'); fi
if [[ ! -f $here/job.sh ]]; then here=${SLURM_SUBMIT_DIR:-.}/launch; fi
source "$here/job.sh" || exit
SWEEP=${SWEEP:-configs/sweeps/debug_xkv.toml}
job_sweep "$here/sweep_debug_xkv.sh" "$@"
