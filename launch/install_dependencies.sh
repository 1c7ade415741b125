#!/usr/bin/env bash
# Installs the compiler and libraries pscale needs. With apt and root or passwordless sudo it installs what is missing;
# elsewhere it changes nothing and lets CMake look at what modules, Spack, conda or CMAKE_PREFIX_PATH offer and list
# everything that is missing. With --tests also what the tests need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests=OFF
if [[ ${1:-} == --tests ]]; then tests=ON; fi
packages=(cmake ninja-build g++ ccache pkg-config python3 openmpi-bin libopenmpi-dev libdnnl-dev libhdf5-dev
  libboost-program-options-dev libtomlplusplus-dev nlohmann-json3-dev libxxhash-dev libpcre2-dev libutf8proc-dev
  zlib1g-dev libzstd-dev)
if [[ $tests == ON ]]; then packages+=(libgtest-dev python3-venv); fi

# Tests that need these skip without them.
extras=()
if [[ $tests == ON ]]; then extras=(slurm-wlm munge chromium); fi

missing_of() {
  local package
  for package in "$@"; do
    if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$'; then echo "$package"; fi
  done
}
mapfile -t missing < <(missing_of "${packages[@]}")
mapfile -t missing_extras < <(missing_of "${extras[@]}")
if ((${#missing[@]} + ${#missing_extras[@]} == 0)); then exit 0; fi

root=()
if ((EUID != 0)); then root=(sudo -n); fi
if command -v apt-get >/dev/null && "${root[@]}" true 2>/dev/null; then
  install() {
    (($# == 0)) || "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  }
  echo "installing ${missing[*]} ${missing_extras[*]}"
  if install "${missing[@]}" "${missing_extras[@]}" 2>/dev/null; then exit 0; fi
  "${root[@]}" apt-get update -qq || true
  if install "${missing[@]}"; then
    install "${missing_extras[@]}" || echo "apt could not install ${missing_extras[*]}: tests that need them are skipped" >&2
    exit 0
  fi
  echo "apt could not install them: looking for them elsewhere" >&2
fi

if ((${#missing[@]} == 0)); then exit 0; fi
tools=()
for tool in cmake c++ mpirun python3; do
  if ! command -v $tool >/dev/null; then tools+=("$tool"); fi
done
if ((${#tools[@]})); then
  echo "error: not in PATH: ${tools[*]}. Load their modules, or install them with one of" \
    "\`apt-get install cmake ninja-build g++ openmpi-bin python3\`," \
    "\`dnf install cmake ninja-build gcc-c++ openmpi-devel python3\`," \
    "\`conda install -c conda-forge cmake ninja gxx openmpi python\`, \`spack install cmake gcc openmpi python\`" >&2
  exit 2
fi
if command -v ninja >/dev/null; then export CMAKE_GENERATOR=Ninja; fi
cmake --preset release -DPSCALE_TESTS=$tests --log-level=WARNING
