#!/usr/bin/env python3
"""Follows runs' metrics.jsonl and logs them to Weights & Biases. pscale itself needs neither this nor wandb.

    launch/wandb_log.py [--project NAME] [--once] RUN_FOLDER ...

Each run folder becomes one W&B run, whose id is kept in the folder (wandb.json): started again, here or by a requeued job, it
goes on in the same W&B run. A metrics.jsonl that is cut back when training resumes from an earlier checkpoint is read again;
steps that were logged already are not logged twice, because a resumed run computes the same again; what the last of them gains,
such as a validation that a stop left out, is. A run that is started afresh gets a new W&B run, but not one that a requeued job
begins again because it had saved nothing. Ends when every run has reached train.max_steps, with --once when all rows there are
have been logged; WANDB_MODE and the other variables of wandb apply.
"""

import argparse
import json
import os
import re
import signal
import sys
import time
import uuid
from pathlib import Path


def rows_of(folder):
    """The complete rows. A torn last line, as of a run that writes it now, is left out."""
    try:
        text = (folder / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [row for row in rows if isinstance(row, dict) and "step" in row]


def config_of(folder):
    """Keys of the resolved configuration with their sections, "train.max_steps"; flat, as W&B shows them."""
    try:
        text = (folder / "config.toml").read_text()
    except FileNotFoundError:
        return {}
    section, config = "", {}
    for line in text.splitlines():
        if header := re.fullmatch(r"\[([\w.]+)\]", line.strip()):
            section = header[1]
        elif pair := re.fullmatch(r"(\w+) = (.*)", line.strip()):
            try:
                config[f"{section}.{pair[1]}"] = json.loads(pair[2])
            except json.JSONDecodeError:
                config[f"{section}.{pair[1]}"] = pair[2]
    return config


def known(row):
    return {key: value for key, value in row.items() if value is not None}


def set_aside(folder):
    """Numbers of the folders previous_N with an earlier run's metrics, in their order."""
    found = [re.fullmatch(r"previous_(\d+)", path.parent.name) for path in folder.glob("previous_*/metrics.jsonl")]
    return sorted(int(name[1]) for name in found if name)


def is_begun_again(folder, number):
    """Whether the run set aside is the present one: of the same configuration, stopped before it had saved a step."""
    earlier = folder / f"previous_{number}"
    try:
        same = (earlier / "config.toml").read_text() == (folder / "config.toml").read_text()
    except FileNotFoundError:
        return False
    return same and not any(earlier.glob("checkpoints/step_*"))


class Followed:
    """One run folder and the W&B run it is logged to."""

    def __init__(self, folder, project):
        self.folder, self.project, self.run = folder, project, None
        self.state_file = folder / "wandb.json"
        try:
            self.state = json.loads(self.state_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            self.state = {}

    def begin(self):
        """Opens the W&B run."""
        import wandb

        if "id" not in self.state:
            self.state = {"id": uuid.uuid4().hex[:12], "project": self.project, "previous": max(set_aside(self.folder), default=0), "step": 0}
            self.save()
        self.run = wandb.init(project=self.state["project"], id=self.state["id"], resume="allow", name=self.folder.name,
                              group=self.folder.parent.name, config=config_of(self.folder), dir=str(self.folder), reinit="create_new")
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")

    def save(self):
        partial = self.state_file.with_suffix(".partial")
        partial.write_text(json.dumps(self.state) + "\n")
        os.replace(partial, self.state_file)

    def update(self):
        """Logs what is new. True once the run has reached its last step."""
        rows = rows_of(self.folder)
        if not rows:
            return False
        self.check_same_run()
        if self.run is None:
            self.begin()
        logged = [row for row in rows if row["step"] == self.state["step"]]
        new = [row for row in rows if row["step"] > self.state["step"]]
        if logged and (gained := {key: value for key, value in known(logged[0]).items() if key not in self.state.get("keys", logged[0])}):
            self.run.log({"step": self.state["step"], **gained})
            self.state["keys"] += list(gained)
            self.save()
        for row in new:
            self.run.log(known(row))
        if new:
            self.state |= {"step": new[-1]["step"], "keys": list(known(new[-1]))}
            self.save()
        return rows[-1]["step"] >= config_of(self.folder).get("train.max_steps", float("inf"))

    def check_same_run(self):
        """Forgets the W&B run where another run was started in the folder since."""
        since = [number for number in set_aside(self.folder) if number > self.state.get("previous", float("inf"))]
        if not since:
            return
        if all(is_begun_again(self.folder, number) for number in since):
            self.state["previous"] = since[-1]
            self.save()
        else:
            self.finish()
            self.state = {}

    def finish(self):
        if self.run is not None:
            self.run.finish()
        self.run = None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--project", default=os.environ.get("WANDB_PROJECT", "pscale"))
    parser.add_argument("--once", action="store_true", help="log what is there and end")
    parser.add_argument("--interval", type=float, default=10, help="seconds between two looks (default 10)")
    options = parser.parse_args()
    try:
        import wandb  # noqa: F401
    except ImportError:
        sys.exit("error: wandb is not installed; pip install wandb")
    absent = [str(folder) for folder in options.folders if not folder.is_dir()]
    if absent:
        print(f"error: no such folder: {', '.join(absent)}", file=sys.stderr)
        sys.exit(2)

    stopped = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append(True))
    runs = [Followed(folder, options.project) for folder in options.folders]
    while True:
        last = bool(stopped) or options.once
        done = [run.update() for run in runs]
        if last or all(done):
            break
        wake = time.monotonic() + options.interval
        while not stopped and time.monotonic() < wake:
            time.sleep(0.1)
    for run in runs:
        run.finish()


if __name__ == "__main__":
    main()
