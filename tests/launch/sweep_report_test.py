"""The report of a sweep: its numbers are those of the metrics, and a browser shows it without complaint."""

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from checkpoint_runs import environment
from sweep_runs import NAMES, command, sweep, write

METRICS = ("loss", "validation_loss", "grad_norm", "tokens", "tokens_per_second")


class Page(HTMLParser):
    """All elements with their attributes and the text directly in them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append({"tag": tag, "text": "", "inside": [e.get("id") for e in self.open], **dict(attributes)})
        if tag not in ("meta", "link", "line", "path", "br"):
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attributes):
        self.elements.append({"tag": tag, "text": "", "inside": [e.get("id") for e in self.open], **dict(attributes)})

    def handle_endtag(self, tag):
        if any(element["tag"] == tag for element in self.open):  # a browser also closes those that were not kept open
            while self.open.pop()["tag"] != tag:
                pass

    def handle_data(self, data):
        if self.open:
            self.open[-1]["text"] += data

    def all(self, tag, inside=None, **attributes):
        return [e for e in self.elements if e["tag"] == tag and (inside is None or inside in e["inside"])
                and all(e.get(k.replace("_", "-")) == v for k, v in attributes.items())]


def raw_rows(folder):
    """Rows of metrics.jsonl with every number as its characters."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_float=str, parse_int=str) for line in lines]


def last(rows, name):
    return [row[name] for row in rows if row.get(name) is not None][-1]


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A sweep with two runs done and one waiting, and its report."""
    mine = write(tmp_path_factory.mktemp("report"), tiny)
    for index in (0, 2):
        sweep("run", mine, "--index", index)
    assert sweep("report", mine).stdout.split() == ["runs/mine/report.html", "runs/mine/report.csv"]
    return mine.parent / "runs/mine"


@pytest.fixture(scope="module")
def page(finished):
    return Page((finished / "report.html").read_text())


def test_curves_have_every_row_of_the_metrics(finished, page):
    for plot, metric in [("loss", "loss"), ("validation-loss", "validation_loss")]:
        lines = page.all("polyline", inside=plot)
        assert [line["data-run"] for line in lines] == [NAMES[0], NAMES[2]]
        for line in lines:
            rows = [row for row in raw_rows(finished / line["data-run"]) if row.get(metric)]
            assert line["data-x"].split() == [row["step"] for row in rows]
            assert line["data-y"].split() == [row[metric] for row in rows]
            assert len(line["points"].split()) == len(rows) > 1


def test_points_lie_where_their_numbers_say(page):
    (svg,) = page.all("svg", id="loss")
    low_x, high_x, low_y, high_y = (float(svg[f"data-{k}"]) for k in ("x-low", "x-high", "y-low", "y-high"))
    for line in page.all("polyline", inside="loss"):
        for x, y, point in zip(line["data-x"].split(), line["data-y"].split(), line["points"].split(), strict=True):
            px, py = map(float, point.split(","))
            assert px == pytest.approx(64 + (float(x) - low_x) / (high_x - low_x) * 500, abs=0.01)
            assert py == pytest.approx(328 - (float(y) - low_y) / (high_y - low_y) * 300, abs=0.01)


def test_the_table_and_the_csv_have_the_last_numbers(finished, page):
    with (finished / "report.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["run"] for row in table] == NAMES
    assert [row["state"] for row in table] == ["done", "waiting", "done"]
    assert [row["parscale.parscale_n"] for row in table] == ["1", "2", "2"]
    assert [float(row["optimizer.learning_rate"]) for row in table] == [1e-3, 1e-3, 3e-3]
    cells = page.all("td", inside="runs")
    for index, row in enumerate(table):
        shown = {m: [c["text"] for c in cells if c.get("data-metric") == m][index] for m in METRICS}
        expected = dict.fromkeys(METRICS, "")
        if index != 1:
            rows = raw_rows(finished / NAMES[index])
            expected = {name: last(rows, name) for name in METRICS}
            assert row["step"] == rows[-1]["step"] == "6"
        assert {name: row[name] for name in METRICS} == expected == shown


def test_last_losses_against_each_swept_key_and_the_best_run(finished, page):
    values = {name: last(raw_rows(finished / name), "validation_loss") for name in (NAMES[0], NAMES[2])}
    for key, at in [("parscale.parscale_n", ["1", "2"]), ("optimizer.learning_rate", ["1e-3", "3e-3"])]:
        marks = page.all("circle", inside=f"against-{key}")
        assert {(m["data-run"], m["data-x"], m["data-y"]) for m in marks} == {
            (NAMES[0], at[0], values[NAMES[0]]), (NAMES[2], at[1], values[NAMES[2]])}
    best = min(values, key=lambda name: float(values[name]))
    name, value = [e for e in page.all("b") if "best" in e["inside"]]
    assert name["data-run"] == best and value["text"] == values[best]


def test_the_page_needs_nothing_else(finished):
    text = (finished / "report.html").read_text()
    assert not re.search(r"<script|https?://|@import|url\(", text)
    assert "seen &lt;before&gt; &amp; done" in text


def test_runs_that_are_not_finished(tiny, tmp_path):
    mine = write(tmp_path, tiny)
    sweep("report", mine)  # nothing has begun
    assert "no values yet" in (tmp_path / "runs/mine/report.html").read_text()
    folder = tmp_path / "runs/mine" / NAMES[1]
    sweep("run", mine, "--index", 1)
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join(rows[:4]) + '\n{"step": 5, "lo')  # a torn line, as of a run that writes it
    (folder / "sweep.json").unlink()
    sweep("report", mine, "--out", tmp_path / "elsewhere")
    page = Page((tmp_path / "elsewhere/report.html").read_text())
    (line,) = page.all("polyline", inside="loss")
    assert line["data-x"] == "1 2 3 4"
    assert [e["text"] for e in page.all("p", id="best")][0].startswith("Best run so far")


def all_numbers_are_the_metrics(page, sweep_folder):
    """Every number on a page that comes from a run, against that run's metrics."""
    every = {run: raw_rows(sweep_folder / run) for run in {row["data-run"] for row in page.all("tr") if "data-run" in row}
             if (sweep_folder / run / "metrics.jsonl").exists()}
    known = {(run, metric): [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]
             for run, rows in every.items() for metric in METRICS}
    checked = 0
    for plot, metric in [("loss", "loss"), ("loss-late", "loss"), ("validation-loss", "validation_loss")]:
        for line in page.all("polyline", inside=plot):
            points = list(zip(line["data-x"].split(), line["data-y"].split(), strict=True))
            assert points == known[line["data-run"], metric][-len(points):]
            checked += len(points)
    judged = "validation_loss" if "last validation loss" in page.all("p", id="best")[0]["text"] else "loss"
    for mark in page.all("circle"):
        assert mark["data-y"] == known[mark["data-run"], judged][-1][1]
    names = [row["data-run"] for row in page.all("tr") if "data-run" in row]
    for metric in METRICS:
        cells = [cell["text"] for cell in page.all("td", inside="runs") if cell.get("data-metric") == metric]
        assert cells == [known[name, metric][-1][1] if known.get((name, metric)) else "" for name in names]
        checked += len(cells)
    (name, value) = [e for e in page.all("b") if "best" in e["inside"]]
    assert value["text"] == known[name["data-run"], judged][-1][1]
    return checked


VARIANTS = """
[sweep]
base = "{base}"
[fixed]
train.max_steps = 6
data.validation_interval = 3
data.validation_samples = 4
data.validation_fraction = 0.2
[grid]
optimizer.learning_rate = [1e-3, 3e-3]
[[variant]]
name = "plain"
parscale.enable_cross_attn = false
parscale.parscale_cross_attn_layers = "none"
[[variant]]
name = "xattn"
parscale.enable_cross_attn = true
"""


@pytest.fixture(scope="module")
def ragged(tiny, tmp_path_factory):
    """A sweep with variants: a run done, one done with a step that has no loss, one that failed half-way, one of other values."""
    mine = write(tmp_path_factory.mktemp("ragged"), tiny, VARIANTS)
    folders = [mine.parent / "runs/mine" / f"{variant},learning_rate={rate}" for variant in ("plain", "xattn") for rate in ("1e-3", "3e-3")]
    for index in range(3):
        sweep("run", mine, "--index", index)
    sweep("run", mine, "--index", 3, "train.max_steps=4")
    rows = (folders[1] / "metrics.jsonl").read_text().splitlines(keepends=True)
    skipped = json.loads(rows[1]) | {"loss": None, "grad_norm": None}
    (folders[1] / "metrics.jsonl").write_text("".join([rows[0], json.dumps(skipped) + "\n", *rows[2:]]))
    rows = (folders[2] / "metrics.jsonl").read_text().splitlines(keepends=True)
    unwell = re.sub(r'"loss":[^,}]+', '"loss":null', rows[3])
    (folders[2] / "metrics.jsonl").write_text("".join([*rows[:3], unwell]))
    record = json.loads((folders[2] / "sweep.json").read_text()) | {"exit_code": 2, "reason": "NaN", "errors": ["error: not finite"]}
    (folders[2] / "sweep.json").write_text(json.dumps(record))
    sweep("report", mine)
    return mine.parent / "runs/mine"


def test_variants_failed_runs_and_steps_without_a_loss(ragged):
    page = Page((ragged / "report.html").read_text())
    assert all_numbers_are_the_metrics(page, ragged) > 50
    lines = {line["data-run"]: line["data-x"].split() for line in page.all("polyline", inside="loss")}
    assert lines["plain,learning_rate=3e-3"] == ["1", "3", "4", "5", "6"]
    assert lines["xattn,learning_rate=1e-3"] == ["1", "2", "3"]
    assert lines["xattn,learning_rate=3e-3"] == ["1", "2", "3", "4"]
    assert {mark["data-x"] for mark in page.all("circle", inside="against-variant")} == {"plain", "xattn"}
    # A run of other values is compared with none.
    assert "xattn,learning_rate=3e-3" not in {mark["data-run"] for mark in page.all("circle")}
    text = (ragged / "report.html").read_text()
    assert "train.max_steps (now 6, then 4)" in text and "failed: NaN" in text
    best = [e for e in page.all("b") if "best" in e["inside"]][0]["data-run"]
    assert best.startswith("plain")
    with (ragged / "report.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["variant"] for row in table] == ["plain", "plain", "xattn", "xattn"]
    assert [row["state"] for row in table] == ["done", "done", "failed", "done"]
    assert [bool(row["other_values"]) for row in table] == [False, False, False, True]


@pytest.mark.parametrize("sweep_folder", ["finished", "ragged"])
def test_a_browser_shows_it_without_complaint(sweep_folder, request, tmp_path):
    finished = request.getfixturevalue(sweep_folder)
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        pytest.skip("no chromium (launch/install_dependencies.sh --tests)")
    start = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--log-level=0", "--virtual-time-budget=2000"]
    address = (finished / "report.html").as_uri()
    shown = subprocess.run([*start, "--dump-dom", address], capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in shown.stderr, shown.stderr
    page = Page(shown.stdout)  # as the browser understood it
    against = {"against-optimizer.learning_rate", "against-parscale.parscale_n" if sweep_folder == "finished" else "against-variant"}
    assert {svg["id"] for svg in page.all("svg") if "id" in svg} == {"loss", "loss-late", "validation-loss"} | against
    assert len(page.all("polyline")) >= 6 and len(page.all("circle")) >= 4
    assert all_numbers_are_the_metrics(page, finished) == all_numbers_are_the_metrics(Page((finished / "report.html").read_text()), finished) > 30
    picture = tmp_path / "page.png"
    subprocess.run([*start, f"--screenshot={picture}", "--window-size=1280,1600", address], capture_output=True, check=True, timeout=120)
    assert picture.stat().st_size > 20_000
    # The check above sees what a page says: one with a mistake says so.
    broken = tmp_path / "broken.html"
    broken.write_text("<script>console.error('wrong')</script>")
    said = subprocess.run([*start, "--dump-dom", broken.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" in said.stderr and "wrong" in said.stderr


def test_the_report_of_a_running_sweep_has_its_time_left(finished, tiny, tmp_path):
    mine = write(tmp_path, tiny)
    long = ["train.max_steps=100000"]
    running = subprocess.Popen(command("run", mine, "--index", 0, *long), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL)
    try:
        folder = tmp_path / "runs/mine" / NAMES[0]
        while not (folder / "metrics.jsonl").exists() or len(raw_rows(folder)) < 3:
            assert running.poll() is None
        sweep("report", mine, *long)
    finally:
        running.terminate()
        running.wait()
    assert re.search(r"running, [\dhms]+ left", (tmp_path / "runs/mine/report.html").read_text())
