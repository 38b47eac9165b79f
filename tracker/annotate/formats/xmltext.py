"""Reading and writing xml: entities are refused, since a file from somebody else can otherwise fill the memory by a few
lines."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from pathlib import Path

from tracker.annotate.clip import AnnotationError


def parse_xml(path: Path) -> xml.Element:
    """The root of a file.

    Raises:
        AnnotationError: It can't be read, isn't xml, or declares entities.
    """
    try:
        data = path.read_bytes()
        if b"<!ENTITY" in data or b"<!DOCTYPE" in data:
            raise AnnotationError(
                f"{path} declares a document type or entities, which no annotation needs; it is not read."
            )
        return xml.fromstring(data)
    except OSError as error:
        raise AnnotationError(f"Can't read {path}: {error.strerror}.") from None
    except xml.ParseError as error:
        raise AnnotationError(f"Can't read {path}: it is not well-formed xml ({error}).") from None


def text_of(element: xml.Element, path: str) -> str:
    """The text of a part.

    Raises:
        ValueError: There is none.
    """
    text = element.findtext(path)
    if text is None or not text.strip():
        raise ValueError(f"<{path}> is missing in <{element.tag}>")
    return text.strip()


def xml_bytes(root: xml.Element) -> bytes:
    """Indented, with its declaration; characters that xml can't hold (controls) are replaced."""
    for element in root.iter():
        element.text = _clean(element.text)
        for key, value in element.attrib.items():
            element.attrib[key] = _clean(value) or ""
    xml.indent(root)
    return bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _clean(text: str | None) -> str | None:
    if text is None:
        return None
    return "".join(
        c if c in "\t\n" or 0x20 <= ord(c) < 0xD800 or 0xE000 <= ord(c) < 0xFFFE or ord(c) > 0xFFFF else "\ufffd"
        for c in text
    )
