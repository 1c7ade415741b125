"""Holds the sources to the layers of docs/architecture.md, and the kernel objects to their namespaces."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(os.environ.get("PSCALE_SOURCE", Path(__file__).resolve().parents[2]))
BUILD = Path(os.environ.get("PSCALE_BUILD", SOURCE / "build"))

# folder: the folders it may include. The innermost folder that is named counts.
CORE = ["core/base", "core/tensor", "core/autograd", "core/ops", "core/cpu", "core/cuda"]
ALLOWED = {
    "core/base": ["core/base"],
    "core/tensor": ["core/base", "core/tensor"],
    "core/autograd": ["core/base", "core/tensor", "core/autograd"],
    "core/ops": ["core/base", "core/tensor", "core/autograd", "core/ops"],
    "core/cpu": ["core/base", "core/tensor", "core/autograd", "core/ops", "core/cpu"],
    "core/cuda": ["core/base", "core/tensor", "core/autograd", "core/ops", "core/cuda"],
    "parallel": ["core", "parallel"],
    "models": ["core", "parallel", "models"],
    "data": ["core", "data"],
    "launch": ["core", "parallel", "models", "data", "launch"],
}
# Kernels are reached through the interface their operator owns, never by name from above.
PRIVATE = ["core/cpu", "core/cuda"]


def source_files(*suffixes: str) -> list[Path]:
    """Every file of the project with one of the suffixes; not what was built or downloaded."""
    skipped = {"build", "runs", "run", "datasets"}
    found = []
    for folder, folders, files in os.walk(SOURCE):
        folders[:] = [f for f in folders if not f.startswith((".", "build")) and f not in skipped]
        found += [Path(folder) / f for f in files if f.endswith(suffixes)]
    assert found, f"no source files under {SOURCE}"
    return sorted(found)


def includes(file: Path) -> list[tuple[int, str]]:
    pattern = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
    lines = file.read_text().splitlines()
    return [(n, m.group(1)) for n, line in enumerate(lines, 1) if (m := pattern.match(line))]


def inside(path: str, folder: str) -> bool:
    return path.startswith(folder + "/")


def layer_of(path: str) -> str | None:
    return next((layer for layer in ALLOWED if inside(path, layer)), None)


def test_no_include_points_upwards():
    problems = []
    for file in source_files(".h", ".cpp", ".cu", ".cuh"):
        path = file.relative_to(SOURCE).as_posix()
        layer = layer_of(path)
        if layer is None:
            continue  # tests may include everything
        for line, included in includes(file):
            if not (SOURCE / included).exists():
                problems.append(f"{path}:{line}: {included} is not a path from the root of the repository")
            elif not any(inside(included, folder) for folder in ALLOWED[layer]):
                problems.append(f"{path}:{line}: {layer} may not include {included}")
            elif any(inside(included, folder) and layer != folder for folder in PRIVATE):
                problems.append(f"{path}:{line}: {included} is private to its folder")
    assert not problems, "\n".join(problems)


def test_core_has_no_file_outside_its_layers():
    stray = [f for f in source_files(".h", ".cpp", ".cu", ".cuh")
             if inside(p := f.relative_to(SOURCE).as_posix(), "core") and not any(inside(p, c) for c in CORE)]
    assert not stray, stray


def test_mpi_is_known_to_parallel_only():
    problems = [f"{file}:{n}" for file in source_files(".h", ".cpp") for n, line in
                enumerate(file.read_text().splitlines(), 1)
                if re.match(r"\s*#\s*include\s+<mpi\.h>", line)
                and not inside(file.relative_to(SOURCE).as_posix(), "parallel/comm")
                and not inside(file.relative_to(SOURCE).as_posix(), "tests")]
    assert not problems, problems


def test_no_file_is_too_long():
    long = [(str(f.relative_to(SOURCE)), n) for f in source_files(".h", ".cpp", ".cu", ".cuh", ".py", ".sh")
            if (n := len(f.read_text().splitlines())) > 800]
    assert not long, f"above 800 lines, to be split: {long}"


def kernel_objects(isa: str) -> list[Path]:
    return sorted(BUILD.glob(f"core/CMakeFiles/pscale_cpu_{isa}.dir/**/*.o"))


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_kernel_objects_export_nothing_that_another_file_may_get(isa):
    """An inline function outside the instruction set's namespace that is compiled here is a weak symbol: the linker
    keeps any one copy of it, maybe this one, and a machine without the instruction set would run it."""
    objects = kernel_objects(isa)
    assert objects, f"no objects of the {isa} kernels under {BUILD}"
    own = re.compile(rf"^_Z(?:Z|G[VR]|T[VIS])?N?K?6pscale3cpu{len(isa)}{isa}")
    problems = []
    for file in objects:
        symbols = subprocess.run(["nm", "--defined-only", file], capture_output=True, text=True, check=True).stdout
        for line in symbols.splitlines():
            kind, name = line.split()[-2:]
            if kind in "WVu" and not own.match(name) and not name.startswith("DW.ref."):
                readable = subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()
                problems.append(f"{file.name}: {readable}")
    assert not problems, "weak symbols:\n" + "\n".join(sorted(set(problems)))
