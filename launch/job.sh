# What the job scripts of this folder share; they source it. Needs nothing but bash, and Slurm's commands inside a job.
#
# Settings, all from the environment, so that `sbatch` and `srun` flags stay free:
#   SWEEP           the sweep, in place of the script's own
#   PSCALE_BIN      the programs' folder (build/bin, or that of the installation)
#   RANKS LAUNCHER  ranks (the job's tasks), and srun, mpirun or none (srun where it speaks PMIx)
#   DEVICE          cpu or cuda (cuda where Slurm gave GPUs)

# A signal that asks to stop may come while no run could save: it is remembered, and no run is started any more.
job_asked=
trap 'job_asked=1' USR1 TERM INT

job_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

job_error() {
  echo "error: $*" >&2
  exit 2
}

# Paths of a sweep or configuration are relative to the folder it is named from: where the job was submitted, or else the
# folder above this one.
job_folder_of() {
  if [[ $1 == /* || -e $1 ]]; then return; fi
  [[ -e $job_root/$1 ]] || job_error "there is no $1 in $PWD nor in $job_root"
  cd "$job_root" || exit 1
}

# The programs and Open MPI, then the network as Slurm's allocation needs it. What is set already stays.
job_environment() {
  # shellcheck source=launch/env.sh
  source "$job_root/launch/env.sh"
  command -v pscale_sweep >/dev/null || job_error "pscale_sweep is not in ${PSCALE_BIN:-$job_root/build/bin}: build it (launch/quickstart.sh), or set PSCALE_BIN"
  if ((${SLURM_JOB_NUM_NODES:-1} > 1)); then
    local bridges="127.0.0.0/8,docker0,virbr0"  # every machine has these, none leads to another
    # Open MPI takes one of a pair alone: what the site includes stays.
    if [[ -z ${OMPI_MCA_btl_tcp_if_include:-} ]]; then export OMPI_MCA_btl_tcp_if_exclude=${OMPI_MCA_btl_tcp_if_exclude:-$bridges}; fi
    if [[ -z ${OMPI_MCA_oob_tcp_if_include:-} ]]; then export OMPI_MCA_oob_tcp_if_exclude=${OMPI_MCA_oob_tcp_if_exclude:-$bridges}; fi
    export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-^lo,docker,virbr}
    if ! compgen -G "/sys/class/infiniband/*" >/dev/null; then export NCCL_IB_DISABLE=${NCCL_IB_DISABLE:-1}; fi
  else
    export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-lo}
  fi
  job_launch=(--ranks "${RANKS:-0}" --launcher "${LAUNCHER:-auto}")
  job_device=()
  if [[ -n ${DEVICE:-} ]]; then
    job_device=("run.device=$DEVICE")
  elif [[ -n ${SLURM_GPUS_ON_NODE:-}${SLURM_GPUS:-}${SLURM_GPUS_PER_NODE:-}${SLURM_JOB_GPUS:-} ]]; then  # salloc sets not all
    job_device=(run.device=cuda)
  fi
}

# Runs a command, hands on the signals that ask it to stop (Slurm's to the batch script alone, Ctrl-C), and waits for its end.
job_wait() {
  local child interrupted before=127
  job_code=75
  if [[ -n $job_asked ]]; then return; fi
  "$@" &
  child=$!
  trap 'job_asked=1; interrupted=1; kill -USR1 "$child" 2>/dev/null || true' USR1 TERM INT
  if [[ -n $job_asked ]]; then kill -USR1 "$child" 2>/dev/null || true; fi
  # Not by `wait` alone: bash loses the code of a child that ends while a signal interrupts it.
  while kill -0 "$child" 2>/dev/null; do sleep 1; done
  while :; do
    interrupted=0
    job_code=0
    wait "$child" || job_code=$?
    # After a signal `wait` has told nothing of the child; it may have told all just before one.
    if ((job_code == 127)); then job_code=$before; fi
    before=$job_code
    if ((!interrupted)); then break; fi
  done
  trap 'job_asked=1' USR1 TERM INT
  # 128 + SIGUSR1: the child was still starting.
  if [[ -n $job_asked ]] && ((job_code == 128 + $(kill -l USR1))); then job_code=75; fi
}

# A job that stopped after saving goes back to the queue: not where its user cancelled it, nor where Slurm put it back already.
job_requeue() {
  # The id of an array's last task is that of the whole array.
  local id=$SLURM_JOB_ID job='' trial state
  if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
  # Slurm ends what it requeues; this script ends by itself, with its code.
  trap '' USR1 TERM INT
  for trial in 1 2 3 4 5; do
    if ((trial > 1)); then sleep 5; fi
    if job=$(scontrol --oneliner show job "$id" 2>/dev/null) && [[ $job == *" JobState="* ]]; then break; fi
    job=''
  done
  state=${job#* JobState=}
  state=${state%% *}
  if [[ -z $job ]]; then
    echo "stopped after saving; Slurm says nothing of job $id, so it is not queued again: submit it once more" >&2
  elif [[ $state != RUNNING ]]; then
    echo "stopped after saving; job $id is $state already and is left so" >&2
  elif [[ $job == *" BatchFlag=0 "* ]]; then
    echo "stopped after saving; job $id has no script that Slurm could start again: start it once more" >&2
  else
    echo "stopped after saving: job $id goes back to the queue"
    scontrol requeue "$id" || echo "Slurm does not requeue job $id: submit it once more" >&2
  fi
}

job_end() {
  if ((job_code == 75)) && [[ -n ${SLURM_JOB_ID:-} ]]; then job_requeue; fi
  exit "$job_code"
}

# Words as a shell would read them again.
job_quoted() {
  (($#)) && printf ' %q' "$@"
  echo
}

# What was added to a sweep, or brought back by a key, has no task in an array of the old size.
job_check_array() {
  local script=$1 count last=$SLURM_ARRAY_TASK_MAX
  shift
  count=$(pscale_sweep list "$SWEEP" "$@" --count 2>/dev/null) || return 0  # the run says what is wrong
  if ((count > last + 1)); then
    echo "warning: runs $((last + 1)) to $((count - 1)) of $SWEEP are in no task of this array; all are in: sbatch --array=0-$((count - 1))$(job_quoted "$script" "$@")" >&2
  fi
}

# job_sweep SCRIPT [--dry-run] [section.key=value ...]: the array task's run of $SWEEP; without a task all runs, one after another.
job_sweep() {
  local script=$job_root/launch/${1##*/} dry=0 index count
  shift
  if [[ ${1:-} == --dry-run ]]; then
    dry=1
    shift
  fi
  [[ -n ${SWEEP:-} ]] || job_error "name a sweep: SWEEP=configs/sweeps/lr.toml sbatch launch/sweep.sh"
  job_folder_of "$SWEEP"
  job_environment
  if ((dry)); then
    count=$(pscale_sweep list "$SWEEP" "$@" --count) || exit $?
    echo "cd$(job_quoted "$PWD") && SWEEP=$(printf %q "$SWEEP") sbatch --array=0-$((count - 1))$(job_quoted "$script" "$@")"
    pscale_sweep list "$SWEEP" "$@"
    for ((index = 0; index < count; ++index)); do
      echo "task $index:"
      pscale_sweep run "$SWEEP" --index $index --dry-run "${job_launch[@]}" ${job_device[@]+"${job_device[@]}"} "$@" || exit $?
    done
    exit 0
  fi
  if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    if [[ $SLURM_ARRAY_TASK_ID == "${SLURM_ARRAY_TASK_MAX:-}" ]]; then job_check_array "$script" "$@"; fi
    job_wait pscale_sweep run "$SWEEP" --index "$SLURM_ARRAY_TASK_ID" "${job_launch[@]}" ${job_device[@]+"${job_device[@]}"} "$@"
    job_end
  fi
  count=$(pscale_sweep list "$SWEEP" "$@" --count) || exit $?
  local worst=0
  for ((index = 0; index < count; ++index)); do
    job_wait pscale_sweep run "$SWEEP" --index $index "${job_launch[@]}" ${job_device[@]+"${job_device[@]}"} "$@"
    if ((job_code == 75)); then job_end; fi
    if ((job_code > worst)); then worst=$job_code; fi
  done
  exit $worst
}

# job_train SCRIPT [--dry-run] CONFIG [argument of pscale_train ...]: one run on all tasks of the job.
job_train() {
  local script=$job_root/launch/${1##*/} dry=()
  shift
  if [[ ${1:-} == --dry-run ]]; then
    dry=(--dry-run)
    shift
  fi
  (($#)) || job_error "a configuration is missing: sbatch launch/train.sh CONFIG.toml [section.key=value ...]"
  job_folder_of "$1"
  job_environment
  if ((${#dry[@]})); then echo "cd$(job_quoted "$PWD") && sbatch$(job_quoted "$script" "$@")"; fi
  local config=$1
  shift
  job_wait pscale_sweep launch ${dry[@]+"${dry[@]}"} "${job_launch[@]}" -- pscale_train "$config" ${job_device[@]+"${job_device[@]}"} "$@"
  if ((${#dry[@]})); then exit "$job_code"; fi
  job_end
}
