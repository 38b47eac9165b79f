"""Lists the cameras of this computer."""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from tracker.errors import SourceError

QUERY_CAPABILITIES = 0x80685600
"""VIDIOC_QUERYCAP of linux/videodev2.h: struct v4l2_capability, 104 bytes; `device_caps` is its 23rd word."""
CAPTURES = 0x1 | 0x1000
"""V4L2_CAP_VIDEO_CAPTURE and V4L2_CAP_VIDEO_CAPTURE_MPLANE: other device nodes of a camera deliver no images."""
MOST_PROBED = 6


@dataclass(frozen=True)
class CameraInfo:
    """A camera.

    Attributes:
        index: Its number, as for `open_source`.
        name: Its name, or "".
        problem: Why it can't be opened, as part of a sentence, or "".
    """

    index: int
    name: str
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.index}  {self.name or 'camera'}{f'  ({self.problem})' if self.problem else ''}"


def list_cameras(names: Path = Path("/sys/class/video4linux"), devices: Path = Path("/dev")) -> list[CameraInfo]:
    """The cameras of this computer by number. On Linux none is opened; elsewhere the first six numbers are tried.

    Args:
        names: Where Linux lists the names of video devices.
        devices: Folder of the devices.
    """
    if not sys.platform.startswith("linux"):
        return _probe()
    found = []
    for device in devices.glob("video*"):
        number = device.name.removeprefix("video")
        if not number.isdigit():
            continue
        captures, problem = _captures(device)
        if captures:
            found.append(CameraInfo(int(number), _name(names / device.name), problem))
    return sorted(found, key=lambda camera: camera.index)


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text(errors="replace").strip()
    except OSError:
        return ""


def _captures(device: Path) -> tuple[bool, str]:
    """Whether a device delivers images, and why it can't be opened; a device that can't be queried counts as a
    camera."""
    import fcntl

    try:
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    except PermissionError:
        return True, f"no permission to open {device}: join the group video"
    except OSError as error:
        return True, error.strerror or "it can't be opened"
    try:
        answer = bytearray(104)
        fcntl.ioctl(handle, QUERY_CAPABILITIES, answer)
    except OSError:
        return False, ""
    finally:
        os.close(handle)
    return bool(struct.unpack_from("I", answer, 88)[0] & CAPTURES), ""


def _probe() -> list[CameraInfo]:
    """Cameras that OpenCV can open, on systems without a list that can be read without additional libraries."""
    import cv2

    found = []
    for index in range(MOST_PROBED):
        camera = cv2.VideoCapture(index)
        try:
            if camera.isOpened():
                found.append(CameraInfo(index, ""))
        finally:
            camera.release()
    return found


def find_camera(wanted: str, cameras: list[CameraInfo]) -> CameraInfo:
    """The camera with a number, or the one whose name contains a text.

    Raises:
        SourceError: There is none, or several match.
    """
    if not cameras:
        raise SourceError(
            "There is no camera: this computer has no video device that gives pictures. Connect one (a container must "
            "be given it: `docker run --device /dev/video0`), or name a file or a URL instead."
        )
    if wanted.isdigit():
        match = [camera for camera in cameras if camera.index == int(wanted)]
    else:
        match = [camera for camera in cameras if wanted.casefold() in camera.name.casefold()]
    if len(match) == 1:
        return match[0]
    known = ", ".join(f"{camera.index} ({camera.name or 'no name'})" for camera in cameras)
    raise SourceError(f"{'Several cameras are' if match else 'No camera is'} called {wanted!r}; there are {known}.")
