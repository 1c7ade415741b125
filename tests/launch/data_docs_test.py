"""The commands of docs/data.md about text and corpora, run as they stand there on small corpora of the same shape."""

import gzip
import json
import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SOURCE, BIN = Path(os.environ["PSCALE_SOURCE"]), Path(os.environ["PSCALE_BIN"])
ARCHIVE = "https://softwareheritage.s3.amazonaws.com"


def commands():
    """Title of a section and shell commands, in the order of the page; those that use pscale_data."""
    section, blocks = None, []
    for title, block in re.findall(r"^## (.*?)$|^```bash\n(.*?)^```$", (SOURCE / "docs/data.md").read_text(), re.M | re.S):
        section = title or section
        if block and re.search("pscale_data (prepare|merge|inspect|encode)", block):
            blocks.append((section, block))
    return blocks


def find(*words):
    (block,) = [block for _, block in commands() if all(word in block for word in words)]
    return block


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def corpora(tmp_path):
    """Runs a command where small corpora lie under the names of the large ones."""
    def table(path, **columns):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), tmp_path / path)

    table("parquet/0.parquet", text=["eins", "zwei\n"], id=[1, 2])
    table("parquet/1.parquet", text=["drei ä \U0001f600"], id=[3])
    table("roneneldan/TinyStories/data/train-00000-of-00001.parquet", text=["Once", "upon"])
    table("HuggingFaceTB/stack-edu/Python/train-00000-of-00001.parquet", blob_id=["a1", "missing", "b2"])
    (tmp_path / "HuggingFaceTB/stack-edu/README.md").write_text(
        "---\nconfigs:\n- config_name: Python\n  data_files:\n  - split: train\n    path: Python/train-*\n---\n")
    (tmp_path / "archive/content").mkdir(parents=True)
    for name, text in (("a1", "print(1)\n"), ("b2", "print(2)\n")):
        (tmp_path / "archive/content" / name).write_bytes(gzip.compress(text.encode()))
    for chunk in (1, 2):
        folder = tmp_path / f"SlimPajama-627B/train/chunk{chunk}"
        folder.mkdir(parents=True)
        for n in range(3):
            lines = "".join(json.dumps({"text": f"chunk {chunk} file {n} line {k}", "meta": {"x": 1}}) + "\n"
                            for k in range(4))
            (folder / f"example_train_{n}.jsonl.zst").write_bytes(pa.compress(lines.encode(), codec="zstd", asbytes=True))
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "hf").write_text("#!/bin/sh\ntest $1 = download\n")
    (programs / "hf").chmod(0o755)
    (programs / "python3").symlink_to(sys.executable)
    # A link is not seen as the interpreter of its virtual environment; it is told where that has its packages.
    environment = os.environ | {"PATH": f"{programs}:{BIN}:{os.environ['PATH']}", "HF_HOME": str(tmp_path / "hf_home"),
                                "PYTHONPATH": ":".join(p for p in sys.path if p)}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "archive")))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(block, code=0):
        block = block.replace("--tokenizer SmolLM2-135M", "--tokenizer bytes")
        block = block.replace(ARCHIVE, f"http://127.0.0.1:{server.server_port}").replace("/usr/lib/python3", "source")
        done = subprocess.run(["bash", "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    yield tmp_path, run
    server.shutdown()
    server.server_close()


def texts_of(prefix):
    done = subprocess.run([BIN / "pscale_data", "inspect", prefix, "--json", "--samples", "1000"], capture_output=True,
                          check=True, timeout=60)
    return [bytes(i for i in sample["ids"] if i < 256).decode() for sample in json.loads(done.stdout)["samples"]]


def test_every_command_is_tested():
    assert len(commands()) == 8


def test_python_sources(corpora):
    folder, run = corpora
    (folder / "source").mkdir()
    (folder / "source/a.py").write_text("import os\n")
    run(find("--suffix .py"))
    assert texts_of(folder / "tokens/python") == ["import os\n"]


def test_slimpajama_parts_and_inspect(corpora):
    folder, run = corpora
    run(find("SlimPajama", "hf download"))
    expected = [f"chunk {chunk} file {n} line {k}" for chunk in (1, 2) for n in range(3) for k in range(4)]
    assert texts_of(folder / "tokens/slimpajama") == expected
    run(find("pscale_data merge"))
    for suffix in ("bin", "idx", "meta.json"):
        assert (folder / f"tokens/merged.{suffix}").read_bytes() == (folder / f"tokens/slimpajama.{suffix}").read_bytes()
    assert len(re.findall("^document [0-9]+ .*chunk", run(find("pscale_data inspect")).stdout, re.M)) == 5


def test_parquet(corpora):
    folder, run = corpora
    run(find("pyarrow"))
    assert texts_of(folder / "tokens/parquet") == ["eins", "zwei\n", "drei ä \U0001f600"]
    # A source that breaks off leaves nothing.
    (folder / "parquet/2.parquet").write_bytes(b"not Parquet")
    done = run(find("pyarrow").replace("tokens/parquet", "tokens/broken"), code=2)
    assert "error: standard input: line 4: not JSON" in done.stderr
    assert not list((folder / "tokens").glob("broken*"))


def test_a_dataset_of_the_hub(corpora):
    folder, run = corpora
    run(find("TinyStories"))
    assert texts_of(folder / "tokens/tinystories") == ["Once", "upon"]


def test_stack_edu(corpora):
    folder, run = corpora
    said = run(find("stack-edu")).stdout
    assert texts_of(folder / "tokens/stack_edu") == ["print(1)\n", "print(2)\n"]
    assert "1 empty documents" in said


def test_encode_and_decode_undo_each_other():
    done = subprocess.run(["bash", "-c", find("encode", "decode")], cwd=SOURCE, capture_output=True, text=True,
                          env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "def f(x):\n", "")
