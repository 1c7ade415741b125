#!/usr/bin/env bash
# From a fresh clone to a training run: installs, builds, prepares Python's standard library as text, trains on 8 ranks.
#   launch/quickstart.sh               all of it
#   launch/quickstart.sh --no-train    stops before training
# Without root: load modules, activate conda, or set CMAKE_PREFIX_PATH first; what is missing is listed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

launch/install_dependencies.sh
if command -v ninja >/dev/null; then export CMAKE_GENERATOR=Ninja; fi
cmake --preset release -DPSCALE_TESTS=OFF --log-level=WARNING
cmake --build --preset release --parallel "$(nproc)"
source launch/env.sh

tokenizer=configs/tokenizers/python_8k
if ! cmp -s $tokenizer/tokenizer.json datasets/python_stdlib.tokenizer/tokenizer.json; then
  library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
  # The folders of installed packages lie inside it on some systems.
  mapfile -t inputs < <(find -L "$library" -mindepth 1 -maxdepth 1 ! -name '*-packages' ! -name __pycache__ \
    \( -type d -o -name '*.py' \) | LC_ALL=C sort)
  mkdir -p datasets
  pscale_data prepare --tokenizer $tokenizer --suffix .py --skip-bad --out datasets/python_stdlib "${inputs[@]}"
fi

tell() {
  echo
  echo "In a new shell type this line once; then \`mpirun -np 8 pscale_train configs/xattn.toml\` works as written:"
  launch/env.sh
}
trap tell EXIT
if [[ ${1:-} != --no-train ]]; then
  mpirun -np 8 pscale_train configs/xattn.toml
fi
