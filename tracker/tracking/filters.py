"""The online filters of all targets of a frame, evaluated together, and updated together on a device."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracker.tracking.arrays import Array, like
from tracker.tracking.observation import Maps, Vector
from tracker.tracking.online_filter import OnlineFilter
from tracker.tracking.ridge import CHANGING, STATE, absorb, respond

if TYPE_CHECKING:
    import torch

    from tracker.crops import Crop
    from tracker.tracking.target import Target


def cells_of(
    targets: Sequence[Target], crops: Sequence[Crop], shapes: Sequence[tuple[int, ...]], stride: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 2) rows and columns of targets' centres in the responses of windows, (N, 2) rows and columns that they cover.

    Args:
        targets, crops: N targets and windows.
        shapes: Rows and columns of the responses.
        stride: Crop pixels for one cell.
    """
    windows = np.array([(crop.left, crop.top, crop.scale, crop.size) for crop in crops])
    corners, scales, sides = windows[:, :2], windows[:, 2:3], windows[:, 3:]
    away = (np.array([target.centre for target in targets]) - corners) * scales - sides / 2
    places = away[:, ::-1] / stride + (np.asarray(shapes) - 1) / 2
    return places, np.array([target.size[::-1] for target in targets]) * scales / stride


class HostFilters:
    """Filters on the host, stored with their targets, since stacking them gains nothing there."""

    def respond(self, filters: Sequence[OnlineFilter | None], maps: Array) -> tuple[Array | None, NDArray[np.bool_]]:
        """Evaluates filters on as many maps.

        Args:
            filters: B filters, some of them None.
            maps: (B, C, H, W) unit-length search embeddings.

        Returns:
            (B, H, W) responses, undefined for targets without a filter, or None if no target has one; and (B,) which
            targets have one.
        """
        there = np.array([one is not None for one in filters])
        mine = [one for one in filters if one is not None]
        if not mine:
            return None, there
        if len(filters) == 1:
            return mine[0].respond(maps[0])[None], there
        taps, constants = np.stack([one.taps for one in mine]), np.stack([one.constant for one in mine])
        if len(mine) == len(filters):
            return respond(taps, constants, maps), there
        online = np.zeros((len(maps), *maps.shape[2:]), np.float32)
        online[there] = respond(taps, constants, maps[there])
        return online, there

    def learn(self, one: OnlineFilter, maps: Maps, place: Vector, extents: Vector) -> None:
        """Updates a filter with a frame in which its target was tracked reliably.

        Args:
            one: The filter.
            maps: The maps of its search window.
            place, extents: (2,) as in `OnlineFilter.learn`.
        """
        assert maps.embedding is not None
        one.absorb(maps.embedding[maps.row], place, extents, maps.weighed.response[maps.row])

    def flush(self) -> None:
        """Starts deferred updates."""


class DeviceFilters(HostFilters):
    """Filters stacked on a device; all updates of a frame are done together.

    A filter gets a slot of the stack when it is first evaluated, and releases it when it is garbage-collected.

    Args:
        device: The device.

    Attributes:
        state: `STATE` by name; the first axis is the slots.
    """

    def __init__(self, device: str) -> None:
        import torch

        self._there = torch.empty(0, device=device)
        self.state: dict[str, torch.Tensor] = {}
        self._free: list[int] = []
        self._due: list[tuple[OnlineFilter, Maps, Vector, Vector]] = []

    def respond(self, filters: Sequence[OnlineFilter | None], maps: Array) -> tuple[Array | None, NDArray[np.bool_]]:
        there = np.array([one is not None for one in filters])
        if not there.any():
            return None, there
        self.flush()
        self._take_in([one for one in filters if one is not None and one.home is not self])
        places = like(np.array([0 if one is None else one.seat for one in filters]), self._there)
        moved = like(maps, self._there) if isinstance(maps, np.ndarray) else maps
        online = respond(self.state["taps"][places], self.state["constant"][places], moved)
        return (online.cpu().numpy() if isinstance(maps, np.ndarray) else online), there

    def learn(self, one: OnlineFilter, maps: Maps, place: Vector, extents: Vector) -> None:
        """As in `HostFilters`, but deferred until `flush`, or until filters are evaluated again."""
        self._due.append((one, maps, place, extents))

    def flush(self) -> None:
        due, self._due = self._due, []
        groups: dict[tuple[int, float], list[tuple[OnlineFilter, Maps, Vector, Vector]]] = {}
        for job in due:
            groups.setdefault((id(job[1].weighed), job[0].rate), []).append(job)
        for (_, rate), jobs in groups.items():
            self._learn(jobs, rate)

    def _learn(self, jobs: Sequence[tuple[OnlineFilter, Maps, Vector, Vector]], rate: float) -> None:
        """Updates filters with the maps of one batch."""
        filters, maps = [one for one, _, _, _ in jobs], jobs[0][1]
        assert maps.embedding is not None
        self._take_in([one for one in filters if one.home is not self])
        places = like(np.array([one.seat for one in filters]), self._there)
        rows = like(np.array([job[1].row for job in jobs]), maps.embedding)
        where = like(np.array([(place, extents) for _, _, place, extents in jobs]), self._there)
        embedding, response = (
            like(one, self._there) if isinstance(one, np.ndarray) else one
            for one in (maps.embedding[rows], maps.weighed.response[rows])
        )
        state = {name: self.state[name][places] for name in STATE}
        absorb(state, embedding, where[:, 0], where[:, 1], response, rate)
        for name in CHANGING:
            self.state[name][places] = state[name]

    def _take_in(self, filters: Sequence[OnlineFilter]) -> None:
        """Assigns slots to filters."""
        for one in filters:
            if one.home is not None:
                one.home.fetch(one)
            if not self._free:
                self._grow(one)
            place = self._free.pop()
            for name in STATE:
                self.state[name][place] = like(np.asarray(getattr(one, name)), self._there)
            one.home, one.seat = self, place
            weakref.finalize(one, self._free.append, place).atexit = False

    def _grow(self, one: OnlineFilter) -> None:
        """Doubles the number of slots, to at least eight."""
        import torch

        before = len(self.state["taps"]) if self.state else 0
        more = max(before, 8)
        for name in STATE:
            values = np.asarray(getattr(one, name))
            room = like(np.zeros((more, *values.shape), np.float32), self._there)
            self.state[name] = torch.cat([self.state[name], room]) if before else room
        self._free.extend(range(before, before + more))

    def fetch(self, one: OnlineFilter) -> None:
        """Copies the learnt state of a filter back to its own arrays; it keeps its slot."""
        self.flush()
        for name in CHANGING:
            setattr(one, name, self.state[name][one.seat].cpu().numpy().copy())
