"""Export of a model for other programs: ONNX or torch.export. docs/export.md describes their use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.files import atomic_path, write_atomic
from tracker.model.checkpoint import LoadedModel
from tracker.runtime.onnx.graphs import search_model, template_model

if TYPE_CHECKING:
    import torch

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
BRANCHES = ("template", "search")
LARGEST_BATCH = 1024


def file_names(folder: Path, model: str, form: str, tail: str = "") -> dict[str, Path]:
    """Branch -> file of an export."""
    return {branch: folder / f"{model}{tail}-{branch}{SUFFIXES[form]}" for branch in BRANCHES}


def write_onnx(model: LoadedModel, files: dict[str, Path]) -> None:
    """Writes the two ONNX files, each atomically.

    Raises:
        DeviceError: The backbone has no ONNX graph.
    """
    for branch, build in (("template", template_model), ("search", search_model)):
        write_atomic(files[branch], build(model.config.model, model.state))


def write_torch(model: LoadedModel, files: dict[str, Path]) -> None:
    """Writes the two branches with torch.export: search size dynamic, the same inputs as the ONNX files.

    The batch size is dynamic with the head "boxes" and 1 with the classic one, whose correlation is computed
    differently for a batch. `embedding` is the feature map of `Matcher.embed_template`; embeddings of the two formats
    are not interchangeable.
    """
    import torch

    branches = _branches(model)
    config = model.config.model
    count = 2 if model.has_boxes else 1
    batch = {0: torch.export.Dim("batch", max=LARGEST_BATCH)} if model.has_boxes else {}
    auto = torch.export.Dim.AUTO  # type: ignore[attr-defined]
    template = torch.zeros((count, config.template_size, config.template_size, 3), dtype=torch.uint8)
    target = torch.full((count, 2), 40.0)
    search = torch.zeros((count, config.search_size, config.search_size, 3), dtype=torch.uint8)
    with torch.no_grad():
        embedding = branches["template"](template, target)
    shapes: dict[str, tuple[Any, Any]] = {
        "template": ((template, target), {"template": batch, "target": batch}),
        "search": ((search, embedding), {"search": {**batch, 1: auto, 2: auto}, "embedding": batch}),
    }
    for branch, (inputs, dynamic) in shapes.items():
        program = torch.export.export(branches[branch], inputs, dynamic_shapes=dynamic)
        with atomic_path(files[branch]) as part:  # torch.export.save wants the suffix .pt2
            torch.export.save(program, part)


def _branches(model: LoadedModel) -> dict[str, torch.nn.Module]:
    from torch import Tensor, nn

    module = model.module

    class Template(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matcher = module

        def forward(self, template: Tensor, target: Tensor) -> Tensor:
            return self.matcher.embed_template(template.permute(0, 3, 1, 2).float(), target)

    class Search(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matcher = module

        def forward(self, search: Tensor, embedding: Tensor) -> tuple[Tensor, ...]:
            score, boxes = self.matcher.match(embedding, self.matcher.embed(search.permute(0, 3, 1, 2).float()))
            return (score[:, 0],) if boxes is None else (score[:, 0], boxes)

    return {"template": Template().eval(), "search": Search().eval()}
