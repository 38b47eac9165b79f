"""The folder of a training run: checks before the run, its creation, and the summary at the end."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.errors import OutputError

if TYPE_CHECKING:
    from tracker.training.run_state import RunResult

LAST = "last.pt"


def check_run_folder(folder: Path, args: argparse.Namespace) -> None:
    """Checks that need no torch.

    Args:
        folder: Folder of the run.
        args: With --resume, --overwrite, and perhaps --preview.

    Raises:
        OutputError: An existing run would be lost, or there is none to resume.
    """
    if args.resume and args.overwrite:
        raise OutputError("--resume goes on with a run and --overwrite removes it; give one of them.")
    if args.resume and not (folder / LAST).is_file():
        raise OutputError(
            f"The folder {folder} holds no {LAST} to resume from; start without --resume or name the right --output."
        )
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"The output {folder} is a file; name a folder by --output.")
    if not (args.resume or args.overwrite or getattr(args, "preview", False)) and (folder / LAST).exists():
        raise OutputError(
            f"The folder {folder} holds a run already; go on with --resume, remove it with --overwrite, or name "
            "another."
        )


def open_run_folder(folder: Path, recipe: str, config: Any, overwrite: bool, old: Sequence[str]) -> None:
    """Creates the folder and writes the recipe into it; called by every process of the run, which wait for each other.

    Args:
        folder: Folder of the run.
        recipe: File name of the recipe.
        config: Its content.
        overwrite: Remove the files of an earlier run.
        old: Patterns of those files.
    """
    from omegaconf import OmegaConf

    from tracker.config_merge import to_dict
    from tracker.files import write_atomic
    from tracker.training import distributed

    folder.mkdir(parents=True, exist_ok=True)
    if distributed.rank() == 0:
        if overwrite:
            for file in (file for pattern in old for file in folder.glob(pattern)):
                file.unlink()
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        write_atomic(folder / recipe, OmegaConf.to_yaml(OmegaConf.create(to_dict(config))))
    distributed.barrier()


def tell_results(result: RunResult, folder: Path) -> None:
    """Prints the best validation result, and the paths of model and log."""
    if result.best:
        best = ", ".join(f"{name} {value:.4f}" for name, value in result.best.items() if name != "step")
        print(f"best validation: {best} at step {result.best['step']:.0f} ({folder / 'best.safetensors'})")
    print(f"model: {folder / 'last.safetensors'}; log: {folder / 'log.csv'}")
