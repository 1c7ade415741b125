"""pscale_data as people use it, and its files read by a reader written from the format's description alone."""

import json
import os
import pty
import select
import subprocess
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(os.environ["PSCALE_BIN"]) / "pscale_data"
TYPES = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 6: np.float64, 7: np.float32, 8: np.uint16}


def run(*arguments, text=b"", code=0):
    done = subprocess.run([PROGRAM, *map(str, arguments)], input=text, capture_output=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def errors(*arguments, text=b""):
    """The problems of a user's mistake; nothing but `error:` lines is printed for one."""
    lines = run(*arguments, text=text, code=2).stderr.decode().splitlines()
    assert lines and all(line.startswith("error: ") for line in lines), lines
    return [line.removeprefix("error: ") for line in lines]


def read_megatron(prefix):
    """All documents, as megatron-core's IndexedDataset finds them."""
    index = Path(f"{prefix}.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    assert int.from_bytes(index[9:17], "little") == 1
    dtype = np.dtype(TYPES[index[17]])
    sequences = int.from_bytes(index[18:26], "little")
    entries = int.from_bytes(index[26:34], "little")
    lengths = np.frombuffer(index, np.int32, sequences, 34)
    pointers = np.frombuffer(index, np.int64, sequences, 34 + lengths.nbytes)
    documents = np.frombuffer(index, np.int64, entries, 34 + lengths.nbytes + pointers.nbytes)
    assert len(index) == 34 + lengths.nbytes + pointers.nbytes + documents.nbytes
    assert documents[0] == 0 and documents[-1] == sequences
    tokens = np.memmap(f"{prefix}.bin", dtype, "r") if os.path.getsize(f"{prefix}.bin") else np.zeros(0, dtype)
    assert lengths.sum() == len(tokens)
    parts = [tokens[p // dtype.itemsize:][:n] for p, n in zip(pointers, lengths, strict=True)]
    return dtype, [np.concatenate([*parts[a:b], tokens[:0]]) for a, b in zip(documents, documents[1:])]


def write_megatron(prefix, documents, dtype):
    code = next(c for c, t in TYPES.items() if t == dtype)
    lengths = np.array([len(d) for d in documents], np.int32)
    pointers = np.concatenate([[0], np.cumsum(lengths.astype(np.int64))[:-1]]) * np.dtype(dtype).itemsize
    with open(f"{prefix}.idx", "wb") as file:
        file.write(b"MMIDIDX\x00\x00" + (1).to_bytes(8, "little") + bytes([code]))
        file.write(len(lengths).to_bytes(8, "little") + (len(lengths) + 1).to_bytes(8, "little"))
        for array in (lengths, pointers.astype(np.int64), np.arange(len(lengths) + 1, dtype=np.int64)):
            file.write(array.tobytes())
    np.concatenate(documents).astype(dtype).tofile(f"{prefix}.bin")


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "in"
    contents = {
        "a.py": b"print('a')\n",
        "deep/b.py": "größer als null".encode(),
        "deep/c.txt": b"not Python",
        "z.py": os.urandom(3_000_000).replace(b"\0", b"\1"),
        ".hidden.py": b"hidden",
        "empty.py": b"",
        "binary.py": b"\0\1\2",
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder, contents


def test_prepare_writes_what_megatron_reads(texts, tmp_path):
    folder, contents = texts
    out = tmp_path / "new" / "folder" / "text"
    done = run("prepare", "--tokenizer", "bytes", "--suffix", ".py", "--out", out, folder)
    assert b"3 documents" in done.stdout and b"1 binary and 1 empty" in done.stdout
    dtype, documents = read_megatron(out)
    assert dtype == np.uint16
    expected = [contents[name] for name in ("a.py", "deep/b.py", "z.py")]
    assert [bytes(d[:-1].astype(np.uint8)) for d in documents] == expected
    assert all(d[-1] == 256 for d in documents)
    assert json.loads(Path(f"{out}.meta.json").read_text()) == {
        "tokenizer": "bytes", "vocab_size": 257, "end_of_document": 256, "documents": 3,
        "tokens": sum(map(len, expected)) + 3}
    assert sorted(p.name for p in out.parent.iterdir()) == ["text.bin", "text.idx", "text.meta.json"]


def test_prepare_is_the_same_every_time(texts, tmp_path):
    folder, _ = texts
    for name in ("one", "two"):
        run("prepare", "--tokenizer", "bytes", "--suffix=.py", "--suffix=.txt", "--out", tmp_path / name, folder)
    for suffix in ("bin", "idx", "meta.json"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    assert len(read_megatron(tmp_path / "one")[1]) == 4


def test_without_end_of_document(texts, tmp_path):
    folder, contents = texts
    out = tmp_path / "text"
    run("prepare", "--tokenizer", "bytes", "--append-eod", "off", "--out", out, folder / "z.py",
        folder / "a.py")
    _, documents = read_megatron(out)
    assert [bytes(d.astype(np.uint8)) for d in documents] == [contents["z.py"], contents["a.py"]]
    assert json.loads(Path(f"{out}.meta.json").read_text())["end_of_document"] is None
    assert b"end of document  none" in run("inspect", out).stdout


def test_inspect(texts, tmp_path):
    folder, contents = texts
    out = tmp_path / "text"
    run("prepare", "--tokenizer", "bytes", "--suffix", ".py", "--out", out, folder)
    text = run("inspect", out).stdout.decode(errors="replace")
    shown = dict(line.split(None, 1) for line in text.strip().split("\n"))
    lengths = sorted(len(contents[name]) + 1 for name in ("a.py", "deep/b.py", "z.py"))
    assert shown["documents"] == "3" and shown["type"] == "uint16" and shown["vocabulary"] == "257"
    assert shown["tokens"] == str(sum(lengths))
    assert f"min {lengths[0]} " in text and f"median {lengths[1]} " in text and f"max {lengths[2]} " in text
    assert """document 0       12 tokens: "print('a')\\n"\n""" in text
    assert f'document 1       {lengths[1]} tokens: "größer als null"\n' in text
    assert text.count("\n") == 12 and "\ufffd" not in text  # what is no UTF-8 is escaped


@pytest.mark.parametrize("dtype,top", [(np.uint16, 50256), (np.int32, 151935)])
def test_inspect_of_files_of_other_programs(dtype, top, tmp_path):
    documents = [np.arange(5), np.array([top]), np.arange(7, 100)]
    write_megatron(tmp_path / "other", documents, dtype)
    text = run("inspect", tmp_path / "other").stdout.decode()
    assert f"vocabulary       {top + 1}" in text and "unknown" in text
    assert "documents        3" in text and "tokens           99" in text
    assert f"document 0       5 tokens: 0 1 2 3 4\ndocument 1       1 tokens: {top}\n" in text
    assert "document 2       93 tokens: 7 8 9 10 " in text and text.endswith(" 37 38...\n")


def test_encode_and_decode():
    text = "hé\n\n  blank and\ttab \nlast".encode()
    ids = run("encode", "--tokenizer", "bytes", text=text).stdout
    assert ids.splitlines()[0] == b"104 195 169" and ids.splitlines()[1] == b""
    assert [list(map(int, line.split())) for line in ids.splitlines()] == [list(line) for line in text.split(b"\n")]
    assert run("decode", "--tokenizer", "bytes", text=ids).stdout == text + b"\n"
    assert run("decode", "--tokenizer", "bytes", text=b" 65\t66  256 \r\n").stdout == b"AB\n"


def test_mistakes_are_named_all_at_once(texts, tmp_path):
    folder, _ = texts
    assert len(errors("prepare")) == 3
    both = errors("prepare", "--tokenizer", "bytes", "--out", tmp_path / "x", "no_file", folder, "no_folder/")
    assert len(both) == 2 and "no_file" in both[0] and "no_folder" in both[1]
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize("arguments,expected", [
    ([], "command is missing"),
    (["prepair"], '"prepair" is no command'),
    (["prepare", "--token", "bytes"], "--token"),
    (["prepare", "--tokenizer", "t.json", "--out", "x", "README"], 't.json": no such file'),
    (["prepare", "--tokenizer", "bytes", "--out", "x", "--append-eod", "perhaps", "y"], "append-eod"),
    (["inspect"], "one path"),
    (["inspect", "none"], "none.idx"),
    (["encode"], "--tokenizer"),
    (["decode", "--tokenizer", "bytes", "file"], "standard input"),
])
def test_mistakes(arguments, expected):
    (problem,) = errors(*arguments)
    assert expected in problem


@pytest.mark.parametrize("ids,expected", [(b"1\n65 300\n", "line 2: token 300"), (b"12x\n", '"12x" is not a token'),
                                          (b"99999999999\n", "is not a token"), (b"-1\n", "token -1")])
def test_decode_names_the_line_of_a_wrong_id(ids, expected):
    (problem,) = errors("decode", "--tokenizer", "bytes", text=ids)
    assert expected in problem


def test_a_truncated_copy_is_found(texts, tmp_path):
    folder, _ = texts
    out = tmp_path / "text"
    run("prepare", "--tokenizer", "bytes", "--suffix", ".py", "--out", out, folder)
    os.truncate(f"{out}.bin", os.path.getsize(f"{out}.bin") // 2)
    (problem,) = errors("inspect", out)
    assert "text.bin" in problem and "incomplete copy" in problem


def test_a_full_disk_is_an_error(texts, tmp_path):
    folder, _ = texts
    out = tmp_path / "text"
    run("prepare", "--tokenizer", "bytes", "--out", out, folder)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PROGRAM, "inspect", out], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith(b"error: standard output")


def test_help():
    for command in ("prepare", "merge", "inspect", "encode", "decode"):
        assert command in run("--help").stdout.decode()
        text = run(command, "--help").stdout.decode()
        assert text.startswith(f"pscale_data {command}") and "--help" in text


def test_a_terminal_gets_one_line_that_is_written_over(tmp_path):
    large = tmp_path / "large.txt"
    large.write_bytes(b"text\n" * 20_000_000)
    leader, terminal = pty.openpty()
    child = subprocess.Popen([PROGRAM, "prepare", "--tokenizer", "bytes", "--out", tmp_path / "out", large],
                             stdout=terminal, stderr=subprocess.PIPE, env=os.environ | {"TERM": "xterm"})
    os.close(terminal)
    shown = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            shown += os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
    os.close(leader)
    assert child.wait(60) == 0, child.stderr.read()
    child.stderr.close()
    assert shown.count(b"\n") == 1  # only the last line stays
    assert b"\r" in shown and b"tokens" in shown and b"eta" in shown and b"/s" in shown
    assert b"1 documents, 100000001 tokens" in shown.split(b"\x1b[K")[-1]
    # In a log there is no rewriting.
    assert b"\r" not in run("prepare", "--tokenizer", "bytes", "--out", tmp_path / "out", large).stdout


def test_two_at_once_do_not_mix(tmp_path):
    """The second of two programs with the same --out gives up; what the first writes is whole."""
    large = tmp_path / "large.txt"
    large.write_bytes(b"text\n" * 10_000_000)
    command = [PROGRAM, "prepare", "--tokenizer", "bytes", "--out", tmp_path / "out", large]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    output = [child.communicate(timeout=60) for child in both]
    codes = sorted(child.returncode for child in both)
    assert codes in ([0, 2], [0, 0]), output  # 0, 0: one was done before the other began
    if codes == [0, 2]:
        assert any(b"another program" in error for _, error in output), output
    assert b"tokens           50000001" in run("inspect", tmp_path / "out").stdout
    assert not list(tmp_path.glob("*.partial"))


def test_under_a_launcher_an_error_is_printed_once():
    done = subprocess.run(["mpirun", "-np", "3", PROGRAM, "inspect", "none"], capture_output=True, timeout=60)
    assert done.returncode == 2
    lines = [line for line in done.stderr.decode().splitlines() if "error: " in line]
    assert len(lines) == 1 and lines[0].startswith("error: none.idx"), done.stderr


def test_an_error_of_another_rank_alone_is_not_lost():
    done = subprocess.run([PROGRAM, "inspect", "none"], capture_output=True, timeout=60,
                          env=os.environ | {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"})
    assert done.returncode == 2 and done.stderr.startswith(b"error: rank 2: none.idx"), done.stderr
