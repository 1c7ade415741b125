"""Corpora as they come: folders, pipes, compressed files, parts on several machines, kills and full disks."""

import contextlib
import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tokenizers

BIN = Path(os.environ["PSCALE_BIN"])
PROGRAM = BIN / "pscale_data"
PREPARE = [PROGRAM, "prepare", "--tokenizer", "bytes"]
SUFFIXES = ("bin", "idx", "meta.json")


def run(*arguments, code=0, **options):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, timeout=60, **options)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        lines = done.stderr.decode().splitlines()
        assert lines and all(line.startswith("error: ") for line in lines), lines
        return [line.removeprefix("error: ") for line in lines]
    return done.stdout.decode()


def prepare(out, *arguments, **options):
    return run("prepare", "--tokenizer", "bytes", "--out", out, *arguments, **options)


def texts_of(prefix):
    found = json.loads(run("inspect", prefix, "--json", "--samples", 10**9))
    assert found["documents"] == len(found["samples"])
    return [bytes(i for i in sample["ids"] if i < 256).decode() for sample in found["samples"]]


def bytes_of(prefix):
    return [Path(f"{prefix}.{suffix}").read_bytes() for suffix in SUFFIXES]


def jsonl(texts, field="text"):
    return "".join(json.dumps({"id": n, field: text}) + "\n" for n, text in enumerate(texts)).encode()


@pytest.fixture
def corpus(tmp_path):
    """A folder with a file of each kind, and its texts in order."""
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(jsonl(["one", "zwei\n", "", "三"]))
    (folder / "b.txt").write_text("four")
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(jsonl(["five"])) + gzip.compress(jsonl(["six"])))
    (folder / "deep" / "d.txt.gz").write_bytes(gzip.compress(b"seven"))
    compress(folder / "deep" / "e.jsonl.zst", jsonl(["eight", "nine"]))
    (folder / "image.png").write_bytes(b"\x89PNG\0\0")
    (folder / "empty.txt").touch()
    return folder, ["one", "zwei\n", "三", "four", "five", "six", "seven", "eight", "nine"]


def compress(path, content):
    """As zstd does, without its program: pyarrow brings the library."""
    import pyarrow as pa
    path.write_bytes(pa.compress(content, codec="zstd", asbytes=True))


def test_a_folder_of_all_kinds(corpus, tmp_path):
    folder, texts = corpus
    said = prepare(tmp_path / "out", folder)
    assert texts_of(tmp_path / "out") == texts
    assert "9 documents" in said and "left out: 1 binary and 1 empty files, 1 empty documents" in said
    prepare(tmp_path / "some", "--suffix", ".jsonl", folder)
    assert texts_of(tmp_path / "some") == ["one", "zwei\n", "三", "five", "six", "eight", "nine"]
    # A pattern that the shell did not expand.
    prepare(tmp_path / "some", folder / "*.txt", folder / "d*p" / "*.zst")
    assert texts_of(tmp_path / "some") == ["four", "eight", "nine"]


@pytest.mark.parametrize("compressor", [bytes, gzip.compress])
def test_standard_input(compressor, tmp_path):
    content = compressor(jsonl([f"text {n}" for n in range(1000)], field="body"))
    said = prepare(tmp_path / "out", "--field", "body", "-", input=content)
    assert texts_of(tmp_path / "out") == [f"text {n}" for n in range(1000)] and "1000 documents" in said
    (problem,) = prepare(tmp_path / "bad", "-", input=b'{"text": "a"}\n{"text"}\n', code=2)
    assert problem.startswith("standard input: line 2: not JSON")
    assert not list(tmp_path.glob("bad*"))


def test_an_error_does_not_wait_for_the_rest_of_a_pipe(tmp_path):
    # More than what is read ahead, so that the bad line is seen while the pipe is open and silent.
    with subprocess.Popen([*PREPARE, "--out", tmp_path / "out", "-"], stdin=subprocess.PIPE,
                          stderr=subprocess.PIPE) as child:
        with contextlib.suppress(BrokenPipeError):  # it may be quicker than this
            child.stdin.write(b"{}\n" + jsonl(["x" * 1000] * 40_000))
            child.stdin.flush()
        assert child.wait(20) == 2
        assert b"line 1" in child.stderr.read()


def test_bad_documents_are_counted(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "good"}\n{"text": 1}\n' + b"broken\n" * 7 + b'{"text": "fine"}\n')
    (problem,) = prepare(tmp_path / "out", tmp_path / "a.jsonl", code=2)
    assert f'{tmp_path}/a.jsonl: line 2: field "text" is not a string: a number' in problem and "--skip-bad" in problem
    said = prepare(tmp_path / "out", "--skip-bad", tmp_path / "a.jsonl").splitlines()
    assert texts_of(tmp_path / "out") == ["good", "fine"]
    assert "8 bad documents" in said[0] and f"{tmp_path}/a.jsonl: line 2: " in said[1] and said[-1] == "bad: 3 more"
    assert len(said) == 7


def test_parts_joined_are_what_one_process_makes(corpus, tmp_path):
    folder, _ = corpus
    prepare(tmp_path / "whole", folder)
    for parts in (1, 3, 20):
        names = [tmp_path / f"part_{n}" for n in range(1, parts + 1)]
        for n, name in enumerate(names, 1):
            prepare(name, "--part", f"{n}/{parts}", folder)
        run("merge", "--out", tmp_path / "joined", *names)
        assert bytes_of(tmp_path / "joined") == bytes_of(tmp_path / "whole")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A folder with a small tokenizer.json and what lies beside one."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, special_tokens=["<end>"], show_progress=False,
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator([Path(json.__file__).read_text()], trainer)
    folder = tmp_path_factory.mktemp("tokenizer")
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    return folder, made


def test_parts_keep_their_tokenizer(corpus, tokenizer, tmp_path):
    folder, texts = corpus
    files, made = tokenizer
    options = ["prepare", "--tokenizer", files, "--out"]
    run(*options, tmp_path / "whole", folder)
    for part in (1, 2):
        run(*options, tmp_path / f"part{part}", "--part", f"{part}/2", folder)
    run("merge", "--out", tmp_path / "joined", tmp_path / "part1", tmp_path / "part2")
    assert bytes_of(tmp_path / "joined") == bytes_of(tmp_path / "whole")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "joined.tokenizer" / name).read_bytes() == (files / name).read_bytes()
    found = json.loads(run("inspect", tmp_path / "joined", "--json", "--samples", 100))
    assert [sample["ids"] for sample in found["samples"]] == [[*made.encode(text).ids, 0] for text in texts]
    assert [sample["text"] for sample in found["samples"]] == [text + "<end>" for text in texts]
    # A part that came without its tokenizer takes that of another; one of another tokenizer is refused.
    shutil.rmtree(tmp_path / "part1.tokenizer")
    run("merge", "--out", tmp_path / "joined", tmp_path / "part1", tmp_path / "part2")
    assert (tmp_path / "joined.tokenizer" / "tokenizer.json").exists()
    prepare(tmp_path / "bytes", folder)
    (problem,) = run("merge", "--out", tmp_path / "joined", tmp_path / "part1", tmp_path / "bytes", code=2)
    assert problem.startswith(f"{tmp_path}/bytes: has tokenizer bytes")


def test_text_that_is_no_utf8(tokenizer, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("gut")
    (folder / "b.txt").write_bytes(b"line\n" * 1_000_000 + b"gr\xfc\xdfe\n")
    (folder / "c.txt").write_bytes(b"\xe4")
    command = ["prepare", "--tokenizer", tokenizer[0], "--out", tmp_path / "out", folder]
    (problem,) = run(*command, code=2)
    assert f"{folder}/b.txt: line 1000001: not UTF-8: byte 0xfc" in problem and "--skip-bad" in problem
    assert not list(tmp_path.glob("out*"))
    said = run(*command, "--skip-bad").splitlines()
    assert "1 documents" in said[0] and "2 bad documents" in said[0] and f"{folder}/c.txt: line 1: " in said[2]


@pytest.mark.parametrize("arguments,expected", [
    (["--part", "0/3", "x"], "--part 0/3"), (["--part", "4/3", "x"], "--part 4/3"), (["--part", "1", "x"], "--part 1:"),
    (["--part", "1/2x", "x"], "--part 1/2x"), (["--part", "1/2", "-"], "standard input"),
    (["--format", "csv", "x"], "--format csv"), (["--field", "", "-"], "--field"), (["no/*.txt"], "no/*.txt: no such"),
])
def test_mistakes(arguments, expected, tmp_path):
    (tmp_path / "x").write_text("x")
    (problem,) = prepare("out", *arguments, code=2, cwd=tmp_path, input=b"")
    assert expected in problem
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_merge_says_what_differs(corpus, tmp_path):
    folder, _ = corpus
    prepare(tmp_path / "a", folder)
    prepare(tmp_path / "b", "--append-eod", "off", folder)
    (problem,) = run("merge", "--out", tmp_path / "c", tmp_path / "a", tmp_path / "b", code=2)
    assert problem.startswith(f"{tmp_path}/b: has tokenizer bytes") and f"{tmp_path}/a has" in problem
    assert len(run("merge", "--out", tmp_path / "c", tmp_path / "x", tmp_path / "y", code=2)) == 2
    assert len(run("merge", code=2)) == 2
    assert not list(tmp_path.glob("c.*"))


def test_memory_does_not_grow_with_the_text(tmp_path):
    """132 MB of text in as many KB."""
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(b"text\n" * 3_300_000) * 8)
    # The largest size of a child is at least that of the process it was forked from: a small one.
    measure = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    done = subprocess.run([sys.executable, "-c", measure, *PREPARE, "--out", tmp_path / "out", tmp_path / "bomb.txt.gz"],
                          capture_output=True, check=True, timeout=100, env=os.environ | {"OMP_NUM_THREADS": "2"})
    kibibytes = int(done.stdout.split()[-1])
    assert kibibytes < 130 * 1024, kibibytes
    assert (tmp_path / "out.bin").stat().st_size == 2 * (8 * 5 * 3_300_000 + 1)


def test_a_full_disk_leaves_what_was_there(corpus, tmp_path):
    folder, texts = corpus
    prepare(tmp_path / "out", folder)
    before = bytes_of(tmp_path / "out")
    (tmp_path / "large.txt").write_bytes(b"x" * 3_000_000)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))

    (problem,) = prepare(tmp_path / "out", tmp_path / "large.txt", code=2, preexec_fn=limit)
    assert f"{tmp_path}/out.bin.partial: cannot write: File too large" in problem
    assert bytes_of(tmp_path / "out") == before and not list(tmp_path.glob("*.partial"))


def test_killed_at_any_moment_it_leaves_all_or_nothing(corpus, tokenizer, tmp_path):
    """A kill before each call that changes a file, over token files that are there: then they are the old ones, the new
    ones, or refused because the index is missing."""
    folder, _ = corpus
    out = tmp_path / "tokens" / "out"
    command = ["prepare", "--tokenizer", tokenizer[0], "--out"]
    run(*command, tmp_path / "new", folder)
    new = bytes_of(tmp_path / "new")
    seen = set()
    for number in range(1, 200):
        prepare(out, folder / "b.txt")
        old = bytes_of(out)
        environment = os.environ | {"LD_PRELOAD": str(BIN / "trace_calls.so"), "TRACE_FOLDER": str(out.parent),
                                    "TRACE_KILL": str(number)}
        done = subprocess.run([PROGRAM, *map(str, command), out, folder], env=environment, capture_output=True, timeout=60)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        if not Path(f"{out}.idx").exists():
            (problem,) = run("inspect", out, code=2)
            assert "out.idx: no such file beside" in problem and "prepare it again" in problem
            seen.add("none")
        else:
            assert bytes_of(out) in (old, new)
            seen.add("old" if bytes_of(out) == old else "new")
            assert ": \"four" in run("inspect", out, "--samples", 9)
        if done.returncode == 0:
            assert bytes_of(out) == new and sorted(os.listdir(out.parent)) == [
                "out.bin", "out.idx", "out.meta.json", "out.tokenizer"]
            break
    assert number > 10 and seen == {"old", "none", "new"}


def test_an_interrupted_one_leaves_what_was_there(corpus, tmp_path):
    folder, texts = corpus
    prepare(tmp_path / "out", folder)
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen([*PREPARE, "--out", tmp_path / "out", "-"], stdin=subprocess.PIPE) as child:
            child.stdin.write(jsonl(["x" * 1000] * 1000))
            child.stdin.flush()
            while not (tmp_path / "out.bin.partial").exists():
                time.sleep(0.01)
            child.send_signal(stop)
            assert child.wait(20) == -stop
        assert texts_of(tmp_path / "out") == texts
        prepare(tmp_path / "out", folder)  # what was left is in nobody's way
        assert not list(tmp_path.glob("*.partial"))
