"""The keys of `track`'s window: step, seek, speed, pause; a window that is told which keys to give."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tracker.media.player import Past, Player
from tracker.media.window import ARROWS


class Hands:
    """A window in which somebody presses these keys, one at each look ("" waits)."""

    def __init__(self, *keys: str) -> None:
        self.keys, self.shown, self.closed = list(keys), [], False  # type: ignore[var-annotated]

    def show(self, image: np.ndarray) -> None:
        self.shown.append(round(float(image[-8:].mean())))

    def key(self, wait_ms: int = 1) -> str:
        time.sleep(min(wait_ms, 2) / 1000)
        return self.keys.pop(0) if self.keys else ""


def picture(k: int) -> np.ndarray:
    """A picture that tells its number by its brightness."""
    return np.full((48, 64, 3), 2 * k, np.uint8)


def play(hands: Hands, frames: int, rate: float = 1000.0, paced: bool = True) -> tuple[Player, list[str]]:
    player, answers = Player(hands, rate, paced), []
    for k in range(frames):
        answers.append(player.present(picture(k)))
        if answers[-1] == "quit":
            break
    return player, answers


def test_steps_back_and_ahead_and_goes_on() -> None:
    hands = Hands("", "", "", ",", ",", ".", ".", ".", "space")
    player, answers = play(hands, 8)
    assert answers == [""] * 8 and not player.paused and player.behind == 0
    # Frame 3 is looked at, then 2, 1, 2, 3; the third step ahead asks for a new frame, which stands until space.
    assert [n // 2 for n in hands.shown[:9]] == [0, 1, 2, 3, 2, 1, 2, 3, 4]


def test_seeking_back_plays_the_past_again_up_to_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.media.player.SEEK_SECONDS", 0.003)
    hands = Hands("", "", "", "", "left")
    player, _ = play(hands, 6)  # three frames back
    first = hands.shown.index(8)
    assert [n // 2 for n in dict.fromkeys(hands.shown[first + 1 :])] == [1, 2, 3, 4, 5]
    assert player.behind == 0


def test_seeking_ahead_tracks_on_without_showing_all() -> None:
    hands = Hands("right")
    began = time.perf_counter()
    _, answers = play(hands, 40, rate=15)  # thirty frames ahead would take two seconds
    assert time.perf_counter() - began < 1.5 and answers == [""] * 40
    assert 3 <= len({n for n in hands.shown if n // 2 <= 30}) <= 8, "a picture now and then shows that it goes on"


def test_speed_is_doubled_and_halved_within_limits() -> None:
    player, _ = play(Hands("+"), 1)
    assert player.speed == 2
    player, _ = play(Hands("-", "-"), 1)
    assert player.speed == 0.25
    player, _ = play(Hands(*["+"] * 9), 9)
    assert player.speed == 8
    slow = Player(Hands("-", "-", "-"), 5.0, paced=False)
    began = time.perf_counter()
    slow.present(picture(0))
    slow.present(picture(1))
    assert time.perf_counter() - began > 1, "5 frames per second at an eighth of the speed"


def test_quit_and_draw_anew_from_the_past() -> None:
    _, answers = play(Hands("", "", ",", "r", "q"), 9)
    assert answers == ["", "", "redraw", "quit"]
    closed = Hands()
    closed.closed = True
    assert Player(closed, 25).present(picture(0)) == "quit"


def test_the_past_keeps_to_its_memory() -> None:
    past = Past(limit=20_000)
    for k in range(100):
        past.add(picture(k))
    assert 5 < len(past) < 100 and abs(float(past.back(0).mean()) - 198) < 3
    assert abs(float(past.back(4).mean()) - 190) < 3
    past.add(np.zeros((100, 3000, 3), np.uint8))
    assert past.back(0).shape == (48, 1440, 3)


@pytest.mark.parametrize("code", [0xFF51, 0x250000])
def test_an_arrow_is_no_letter(code: int) -> None:
    assert ARROWS[code] == "left"  # 0xFF51 ends in the byte of "Q"
