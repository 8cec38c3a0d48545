"""Files of fitted parameters: JSON with the number of its format and a checksum of all that it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from retrieval.errors import RetrievalError

Made = TypeVar("Made")

MOST = 1e100  # far above what can be fitted


class ParameterFileError(RetrievalError):
    """A file does not hold parameters that can be used."""


def read(path: Path, version: int, make: Callable[[dict[str, Any]], Made], kind: str, advice: str) -> Made:
    """Make something of what `write` wrote.

    Args:
        path: The file.
        version: Its format must be this one.
        make: Takes the content without format and checksum; a KeyError, TypeError or ValueError says what is wrong.
        kind: What the file should be, for the messages of errors.
        advice: How to make one, likewise.

    Raises:
        ParameterFileError: It cannot be read, is no such file, has another format, or was changed.
    """
    try:
        content = _object(path.read_text(encoding="utf-8-sig"))
        written, found = content.pop("checksum"), content["format"]
        made = make({name: value for name, value in content.items() if name != "format"}) if found == version else None
    except OSError as error:
        raise ParameterFileError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:  # whose text would repeat the file
        raise ParameterFileError(f"{path} is no {kind}: not UTF-8 at byte {error.start}; {advice}") from error
    except KeyError as error:
        raise ParameterFileError(f"{path} is no {kind}: it lacks {error}; {advice}") from error
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ParameterFileError(f"{path} is no {kind}: {error}; {advice}") from error
    if made is None:
        raise ParameterFileError(f"{path} has the format {found}, not {version}; {advice}")
    if written != checksum(content):
        raise ParameterFileError(f"the checksum of {path} is wrong: the file was changed or damaged; {advice}")
    return made


def _object(text: str) -> dict[str, Any]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise TypeError("it holds no object")
    return content


def write(path: Path, version: int, content: Mapping[str, Any]) -> None:
    """Write a file that `read` reads."""
    numbered = {"format": version, **content}
    path.write_text(json.dumps({**numbered, "checksum": checksum(numbered)}, indent=1) + "\n", encoding="utf-8")


def is_number(value: object) -> bool:
    """Whether a value of a file is a number whose sums and products with scores do not overflow."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST


def checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content, hexadecimal, whatever the order of its names."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
