"""What `track` says of a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.helpers import BOX, frames_in
from tests.cli.test_track import tracked
from tracker.cli import track
from tracker.cli.common import run


@pytest.fixture(scope="module")
def broken(place: Path) -> Path:
    """Files that are not what their names say."""
    (place / "text.mp4").write_text("this is not a video\n" * 100)
    data = (place / "clip.mp4").read_bytes()
    (place / "short.mp4").write_bytes(data[: len(data) // 2])  # without the index at its end
    (place / "empty.mp4").write_bytes(b"")
    (place / "nothing").mkdir(exist_ok=True)
    (place / "nonsense.txt").write_text("hello\n")
    (place / "wrong.yaml").write_text("tracking:\n  window_influenze: 0.3\n")
    (place / "damaged.safetensors").write_bytes((place / "tiny.safetensors").read_bytes()[:2000])
    return place


BAD: list[tuple[str, list[str], str]] = [
    ("none.mp4", ["--box", BOX], "no such file"),
    ("clp.mp4", [], "Did you mean"),
    ("clip.mp4", ["--no-show"], "--no-show was given; pass the box"),
    ("clip.mp4", ["--box", BOX, "--no-shw"], "did you mean '--no-show'? (--help"),
    ("text.mp4", ["--box", BOX], "text.mp4"),
    ("short.mp4", ["--box", BOX], "short.mp4"),
    ("empty.mp4", ["--box", BOX], "empty"),
    ("nothing", ["--box", BOX], "is empty"),
    ("nothing/*.png", ["--box", BOX], "names no images"),
    ("clip.mp4", ["--box", "500,500,10,10"], "outside the frame"),
    ("clip.mp4", ["--box", "0,0,0,0"], "no area"),
    ("clip.mp4", ["--box", "nan,0,5,5"], "not finite"),
    ("clip.mp4", ["--box", "-500,5,10,10"], "outside the frame"),
    ("clip.mp4", ["--box", "a,b"], "'a,b' is not a box"),
    ("clip.mp4", ["--box", "1,2,3"], "is not a box"),
    ("clip.mp4", ["--init-file", "nonsense.txt"], "nonsense.txt"),
    ("clip.mp4", ["--init-file", "none.txt"], "none.txt"),
    ("clip.mp4", ["--init-file", "boxes.txt", "--box", BOX], "give one of them"),
    ("clip.mp4", ["--box", BOX, "--start-frame", "99"], "only 12 frames"),
    ("clip.mp4", ["--box", BOX, "--start-frame", "-1"], "at least 0"),
    ("clip.mp4", ["--box", BOX, "--save", "no/such/folder/out.mp4"], "does not exist"),
    ("clip.mp4", ["--box", BOX, "--save", "clip.mp4", "--overwrite"], "input itself"),
    ("clip.mp4", ["--box", BOX, "--save", "out.wmv"], "must end in"),
    ("clip.mp4", ["--box", BOX, "--save-boxes", "out.xml"], "out.xml"),
    ("clip.mp4", ["--box", BOX, "--save-boxes", "boxes.txt"], "exists already"),
    ("clip.mp4", ["--box", BOX, "--save-boxes", "o.csv", "--save-boxes", "o.csv"], "twice"),
    ("clip.mp4", ["--box", BOX, "--save-boxes", "o.csv", "--format", "mot"], "no --save-boxes FILE.txt"),
    ("clip.mp4", ["--box", BOX, "--config", "none.yaml"], "none.yaml"),
    ("clip.mp4", ["--box", BOX, "--config", "wrong.yaml"], "window_influence"),
    ("clip.mp4", ["--box", BOX, "--set", "tracking.windw_influence=0.3"], "window_influence"),
    ("clip.mp4", ["--box", BOX, "--model", "another"], "neither a shipped model"),
    ("clip.mp4", ["--box", BOX, "--model", "siamtrak-n"], "Did you mean 'siamtrack-n'?"),
    ("clip.mp4", ["--box", BOX, "--model", "damaged.safetensors"], "damaged"),
    ("clip.mp4", ["--box", BOX, "--device", "warp"], "warp"),
    ("clip.mp4", ["--box", BOX, "--device", "cuda:99"], "cuda"),
    ("clip.mp4", ["--box", BOX, "--engine", "steam"], "steam"),
    ("clip.mp4", ["--box", BOX, "--boks", "1"], "did you mean '--box'"),
    ("clip.mp4", [], "pass the box with --box"),
    ("77", ["--box", BOX], "camera 77"),
]


@pytest.mark.parametrize(
    ("source", "args", "says"), BAD, ids=[f"{source} {' '.join(args[-2:])}" for source, args, _ in BAD]
)
def test_one_sentence_and_exit_code_2(
    broken: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    source: str,
    args: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(broken)
    before = {path: path.stat().st_mtime_ns for path in broken.rglob("*")}
    model = [] if "--model" in args else ["--model", "tiny.safetensors"]
    output = [] if "--save" in args or "--save-boxes" in args else ["--save", "new.mp4", "--save-boxes", "new.csv"]
    try:
        code = run(track.main, [source, *model, *args, *output])
    except SystemExit as stop:  # argparse
        code = int(stop.code or 0)
    told = capfd.readouterr()
    assert code == 2, told
    lines = [line for line in told.err.splitlines() if line]
    assert len(lines) == 1 and says in lines[0], told.err
    assert "Traceback" not in told.err
    assert {path: path.stat().st_mtime_ns for path in broken.rglob("*")} == before, "nothing written"


def test_an_unwritable_folder(broken: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import os

    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder = here / "locked"
    folder.mkdir(mode=0o500)
    assert tracked(broken, "--box", BOX, "--save", folder / "out.mp4") == 2
    assert "no permission" in capsys.readouterr().err


def test_failing_in_the_middle_keeps_what_was_written(
    place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "half"
    folder.mkdir()
    for k in range(8):
        (folder / f"{k}.png").write_bytes((place / "frames" / f"{k + 1}.png").read_bytes())
    (folder / "5.png").write_bytes((place / "frames" / "6.png").read_bytes()[:500])
    assert tracked(place, "--box", BOX, "--save-boxes", "out.csv", "--save", "out.mp4", source=folder) == 1
    told = capsys.readouterr()
    assert "5.png" in told.err and "Traceback" not in told.err
    assert told.out.splitlines()[-1].startswith("5 frames") and "wrote out.mp4, out.csv" in told.out
    assert frames_in(Path("out.mp4")) == 5
    assert len(Path("out.csv").read_text().splitlines()) == 6


def test_boxes_may_begin_outside(place: Path, here: Path) -> None:
    assert tracked(place, "--box", "-5,-4,30,30", "--save-boxes", "out.csv", "--max-frames", 2) == 0


@pytest.mark.parametrize(("box", "said"), [("-20,-20,28,28", "Only 8 % of the box -20,-20,28,28"), (BOX, "")])
def test_a_box_that_is_mostly_outside_is_pointed_out(
    place: Path, here: Path, capsys: pytest.CaptureFixture[str], box: str, said: str
) -> None:
    assert tracked(place, "--box", box, "--save-boxes", "outside.csv", "--overwrite") == 0
    error = capsys.readouterr().err
    assert said in error and ("is in the frame" in error) is bool(said)


def test_a_file_whose_name_begins_with_a_dash(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("-clip.mp4").touch()
    with pytest.raises(SystemExit):
        track.main(["-clip.mp4", "--box", "1,2,3,4"])
    assert "write ./-clip.mp4" in capsys.readouterr().err
