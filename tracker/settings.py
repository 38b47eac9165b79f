"""Declaration of settings: default, bounds, unit and meaning are part of the dataclass field, and one function checks
all of them.

    @dataclass(frozen=True)
    class Sport(Checked, section="sport"):
        speed: float = setting(3.0, 0, 100, "pixels in a frame", "How fast.")

`siamtrack settings` and docs/settings.md are printed from the same fields.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, TypeVar

from tracker.errors import ConfigError, shown
from tracker.files import suggest

T = TypeVar("T")
KEY = "setting"
LARGEST = 1_000_000_000
"""Upper bound of a count where nothing else limits it."""
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Setting:
    """The declared properties of one setting.

    Attributes:
        low, high: Inclusive bounds of a number (of each number of a list); None: any finite number.
        unit: Of a number; "" for a ratio.
        help: What it does.
        above, below: Whether `low` (`high`) itself is excluded.
        off: One further value, outside the bounds, that disables the feature.
        choices: The allowed strings; () for any.
        length: Least and greatest number of items of a list.
        optional: Whether None is allowed.
    """

    low: float | None = None
    high: float | None = None
    unit: str = ""
    help: str = ""
    above: bool = False
    below: bool = False
    off: float | None = None
    choices: tuple[str, ...] = ()
    length: tuple[int, int] | None = None
    optional: bool = False

    @property
    def bounds(self) -> str:
        """The allowed values in words: "from 0 to 1", "0, or from 33 to 2047", "dot, cosine or euclidean"."""
        if self.choices:
            return " or ".join(filter(None, [", ".join(self.choices[:-1]), self.choices[-1]]))
        low = "" if self.low is None else f"{'above' if self.above else 'from'} {_plain(self.low)}"
        high = "" if self.high is None else f"{'to below' if self.below else 'to'} {_plain(self.high)}"
        words = " ".join(filter(None, [low, high]))
        return words if self.off is None else f"{_plain(self.off)}, or {words}"

    def allows(self, value: float) -> bool:
        """Whether a number lies within the bounds."""
        if self.off is not None and value == self.off:
            return True
        if not -math.inf < value < math.inf:
            return False
        low = self.low is None or (value > self.low if self.above else value >= self.low)
        return low and (self.high is None or (value < self.high if self.below else value <= self.high))


def setting(
    default: Any = dataclasses.MISSING,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    help: str = "",  # noqa: A002 - the word that argparse has for it
    *,
    factory: Callable[[], Any] | None = None,
    above: bool = False,
    below: bool = False,
    off: float | None = None,
    choices: tuple[str, ...] = (),
    length: tuple[int, int] | None = None,
) -> Any:
    """A dataclass field with bounds, unit and help; the arguments are those of `Setting`.

    Args:
        default: The default value; None also makes None an allowed value.
        factory: Makes the default, for lists, mappings and nested sections.
    """
    facts = Setting(low, high, unit, " ".join(help.split()), above, below, off, choices, length, default is None)
    if factory is not None:
        return field(default_factory=factory, metadata={KEY: facts})
    return field(default=default, metadata={KEY: facts})


class Checked:
    """A frozen dataclass whose fields are checked whenever one is made.

    Attributes:
        section: Name of the section in error messages.
        moved: Names used by earlier versions -> "section.name" of today (`tracker.config_merge.moved`).
        removed: "section.name" of earlier versions that are gone; they were 0 by default, and are skipped on reading.
    """

    section: ClassVar[str] = ""
    moved: ClassVar[Mapping[str, str]] = {}
    removed: ClassVar[Sequence[str]] = ()

    def __init_subclass__(cls, section: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.section = section

    def __post_init__(self) -> None:
        for name, _, facts in fields_of(type(self)):  # type: ignore[arg-type]
            # YAML reads the words on and off as booleans, which a text field then holds as "True" and "False".
            value = getattr(self, name)
            word = {"True": "on", "False": "off"}.get(value) if isinstance(value, str) else None
            if word in facts.choices:
                object.__setattr__(self, name, word)
        check(self)


def check(config: Any) -> None:
    """Raises an error for the first field of a dataclass whose value has a wrong type or is out of bounds.

    Raises:
        ConfigError: With the field, its value and what is allowed.
    """
    section = getattr(config, "section", "")
    for name, kind, facts in fields_of(type(config)):  # type: ignore[arg-type]
        value = getattr(config, name)
        if value is None and facts.optional:
            continue
        wrong = _wrong(value, kind, facts)
        if wrong:
            key = f"{section}.{name}" if section else name
            given = f"{value:g}" if isinstance(value, float) else shown(value)
            near = suggest(value, facts.choices) if isinstance(value, str) else ""
            raise ConfigError(f"{key} is {given}; it must be {wrong}.{near}")


@cache
def fields_of(cls: Any) -> tuple[tuple[str, Any, Setting], ...]:
    """(name, type, setting) of each field of a dataclass; a field declared without `setting` has no bounds but must be
    finite.

    The description of a field is its `help`, or its entry under Attributes in the docstring of the class.
    """
    hints, said = typing.get_type_hints(cls), _attributes(cls)
    found = []
    for f in dataclasses.fields(cls):
        facts = f.metadata.get(KEY) or Setting(optional=f.default is None)
        found.append((f.name, hints[f.name], dataclasses.replace(facts, help=facts.help or said.get(f.name, ""))))
    return tuple(found)


def _attributes(cls: Any) -> dict[str, str]:
    """The descriptions under Attributes in the docstring of a class, by name."""
    said: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")[2].splitlines():
        found = re.match(r" {4}(\w+(?:, \w+)*): (.*)", line)
        names = found[1].split(", ") if found else names
        said |= {name: f"{said.get(name, '')} {found[2] if found else line.strip()}".strip() for name in names}
    return said


def sections_of(cls: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """(dotted name, class) of a dataclass and of all nested ones, the outer one first."""
    yield prefix, cls
    for name, kind, _ in fields_of(cls):
        if dataclasses.is_dataclass(kind):
            yield from sections_of(typing.cast(type, kind), f"{prefix}.{name}" if prefix else name)


def changed(config: T, values: Mapping[str, Any]) -> T:
    """A copy of a configuration with other values, nested ones by dotted name: {"online.rate": 0.1}.

    Raises:
        ConfigError: A value is out of its bounds.
    """
    own: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, dot, name = key.partition(".")
        if dot:
            below.setdefault(section, {})[name] = value
        else:
            own[key] = value
    own |= {section: changed(getattr(config, section), part) for section, part in below.items()}
    return dataclasses.replace(config, **own)  # type: ignore[type-var]


def flat(config: Any) -> dict[str, Any]:
    """Dotted name -> value for each setting of a configuration and its nested sections, or of a nested mapping."""
    kind, items = (
        (Mapping, list(config.items()))
        if isinstance(config, Mapping)
        else (Checked, [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config)])
    )
    found: dict[str, Any] = {}
    for name, value in items:
        below = flat(value) if isinstance(value, kind) else {}
        found |= {f"{name}.{key}": inner for key, inner in below.items()} or {name: value}
    return found


def default_of(cls: type, name: str) -> Any:
    """The default of a field."""
    found = next(f for f in dataclasses.fields(cls) if f.name == name)
    return found.default_factory() if found.default_factory is not dataclasses.MISSING else found.default


def _wrong(value: Any, kind: Any, facts: Setting) -> str:
    """Describes what a value should be if it is wrong; "" where it is right."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return "" if isinstance(value, kind) else f"a section like {kind.__name__}"
    kinds = (
        {kind, *typing.get_args(kind)}
        if typing.get_origin(kind) not in (list, tuple, dict)
        else {typing.get_origin(kind)}
    )
    if bool in kinds:
        return "" if isinstance(value, bool) else "true or false"
    if int in kinds:
        good = isinstance(value, numbers.Integral) and not isinstance(value, bool) and facts.allows(int(value))
        return "" if good else f"a whole number {_bounds(facts)}"
    if float in kinds:
        return "" if _number(value, facts) else f"a finite number {_bounds(facts)}"
    if str in kinds:
        if not isinstance(value, str):
            return "a text"
        return "" if not facts.choices or value in facts.choices else facts.bounds
    if kinds & {list, tuple}:
        if not isinstance(value, list | tuple):
            return "a list"
        if facts.length and not facts.length[0] <= len(value) <= facts.length[1]:
            return f"a list of {facts.length[0]} to {facts.length[1]} items, not of {len(value)}"
        if float in typing.get_args(kind) and not all(_number(v, facts) for v in value):
            return f"a list of finite numbers {_bounds(facts)}"
        return "" if str not in typing.get_args(kind) or all(isinstance(v, str) for v in value) else "a list of texts"
    if dict in kinds:
        if not isinstance(value, dict):
            return "a mapping"
        return "" if all_finite(value) else "a mapping whose numbers are finite"
    return ""


def all_finite(value: Any) -> bool:
    """Whether every number in nested mappings and lists is finite."""
    if isinstance(value, dict):
        return all(map(all_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(all_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _number(value: Any, facts: Setting) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and facts.allows(typing.cast(float, value))


def _bounds(facts: Setting) -> str:
    return " ".join(filter(None, [facts.bounds, facts.unit])).strip()


def _plain(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
