#!/usr/bin/env bash
# What a shell needs so that `mpirun -np 8 pscale_train CONFIG` works as written: the programs in PATH, and Open MPI
# willing to run more ranks than cores, to leave a rank's threads where they like, and to be quiet in containers.
#   launch/env.sh              prints the one line to type
#   launch/env.sh COMMAND ...  runs the command so
#   source launch/env.sh       (bash) sets it in this shell
# PSCALE_BIN names the programs' folder where it is neither build/bin nor that of an installation.
pscale_environment() {
  local here bin mpirun path version
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  bin=${PSCALE_BIN:-$here/build/bin}
  if [[ ! -d $bin && -x $here/../../bin/pscale_train ]]; then bin=$(cd "$here/../../bin" && pwd); fi
  # The mpirun of the MPI that the programs were linked with.
  mpirun=$(sed -n 's/^MPIEXEC_EXECUTABLE:[^=]*=//p' "$bin/../CMakeCache.txt" 2>/dev/null || true)
  if [[ ! -x $mpirun ]]; then mpirun=$(command -v mpirun || true); fi
  path=$bin
  case $(dirname "${mpirun:-/usr/bin/mpirun}") in
    /usr/bin | /bin | /usr/local/bin) ;;
    *) path=$path:$(dirname "$mpirun") ;;
  esac
  printf 'export PATH=%q:$PATH' "$path"
  version=$("${mpirun:-mpirun}" --version 2>/dev/null | head -n 1 || true)
  if [[ $version == *"Open MPI"* || $version == *OpenRTE* ]]; then
    case ${version##* } in
      [1-4].*) printf ' OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none' ;;
      *) printf ' PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none' ;;
    esac
    printf ' OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none'
    # Inside a Slurm job mpirun reaches other machines through srun.
    if ! command -v ssh >/dev/null && [[ -z ${SLURM_JOB_ID:-} ]]; then printf ' OMPI_MCA_plm=isolated'; fi
    if ((EUID == 0)); then printf ' OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1'; fi
  fi
  echo
}

if [[ ${BASH_SOURCE[0]} != "$0" ]]; then
  eval "$(pscale_environment)"
elif (($# == 0)); then
  pscale_environment
else
  eval "$(pscale_environment)"
  exec "$@"
fi
