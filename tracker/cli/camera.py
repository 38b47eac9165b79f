"""`--camera` of `track` and `live`: list the cameras, pick one by number or name, or ask."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tracker.cli.common import Parser
from tracker.errors import SourceError

if TYPE_CHECKING:
    from tracker.media.sources.cameras import CameraInfo


def add_camera_option(parser: argparse._ArgumentGroup | Parser) -> None:
    """--camera, in place of SOURCE."""
    parser.add_argument(
        "--camera",
        metavar="list|pick|N|NAME",
        help="instead of SOURCE: `list` prints the cameras, `pick` asks which one; or a number or part of a name",
    )


def settle_source(args: argparse.Namespace, parser: Parser) -> bool:
    """Sets `args.source` to the chosen camera; returns False if only the list was requested, which is printed.

    Raises:
        SourceError: There is no such camera, or none at all.
    """
    if args.camera is None:
        return True
    if args.source is not None:
        parser.error(f"--camera and SOURCE ({args.source}) both name a source; give one of them")
    from tracker.media.sources.cameras import find_camera, list_cameras

    cameras = list_cameras()
    if args.camera == "list":
        if not cameras:
            find_camera("0", cameras)
        print("\n".join(map(str, cameras)))
        return False
    args.source = str(ask(cameras).index if args.camera == "pick" else find_camera(args.camera, cameras).index)
    return True


def ask(cameras: list[CameraInfo]) -> CameraInfo:
    """The only camera, or the one that the user chooses.

    Raises:
        SourceError: There is none, or the session is not interactive.
    """
    from tracker.media.sources.cameras import find_camera

    if len(cameras) < 2:
        return cameras[0] if cameras else find_camera("0", cameras)
    if not sys.stdin.isatty():
        raise SourceError(
            f"Which camera? There are {', '.join(str(camera.index) for camera in cameras)}; give --camera N, as there "
            "is not a terminal to ask in."
        )
    print("\n".join(map(str, cameras)))
    try:
        answer = input(f"Which camera? [{cameras[0].index}] ").strip()
    except EOFError:
        answer = ""
    return find_camera(answer, cameras) if answer else cameras[0]
