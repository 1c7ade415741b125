#!/usr/bin/env bash
# Installs what is missing, builds and runs the tests. On Debian 12 it needs nothing but this clone; run it again freely.
#   tests/run.sh            all tests of the release build, then the C++ tests of the sanitizer build
#   tests/run.sh --fast     without the sanitizer build
# Further arguments go to ctest: tests/run.sh --fast -R layering
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

presets=(release asan)
if [[ ${1:-} == --fast ]]; then
  presets=(release)
  shift
fi
say() { echo "== $* ($((SECONDS / 60)) min $((SECONDS % 60)) s)"; }

say "packages"
launch/install_dependencies.sh --tests

say "Python environment"
venv=build/venv
if ! cmp -s tests/requirements.txt $venv/installed.txt; then
  python3 -m venv --clear $venv
  $venv/bin/pip install --quiet --requirement tests/requirements.txt
  cp tests/requirements.txt $venv/installed.txt
fi

if command -v ninja >/dev/null; then export CMAKE_GENERATOR=Ninja; fi
status=0
for preset in "${presets[@]}"; do
  say "build: $preset"
  cmake --preset "$preset" -DPSCALE_TESTS=ON -DPSCALE_PYTHON="$PWD/$venv/bin/python" --log-level=WARNING
  cmake --build --preset "$preset" --parallel "$(nproc)"
  say "tests: $preset"
  ctest --preset "$preset" --output-on-failure --parallel "$(nproc)" "$@" || status=1
done
say "done"
exit $status
