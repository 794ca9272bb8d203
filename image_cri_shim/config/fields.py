"""How single values are read: what each kind expects, and what it says about anything else."""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from image_cri_shim.config.address import parse_address, parse_path
from image_cri_shim.config.document import Kind, Scalar
from image_cri_shim.config.durations import parse_duration
from image_cri_shim.config.excerpt import excerpt, has_control
from image_cri_shim.config.sockets import PATH_LIMIT, format_listen, parse_listen, parse_socket_path
from image_cri_shim.credentials import Credentials, parse_credentials
from image_cri_shim.decision import Registry

# Longer than any value that is meant seriously; a timer's arithmetic stays exact below it.
LONGEST = 10 * 365 * 24 * 3600.0
# PATH_MAX of linux/limits.h, without the NUL.
_FILE_LIMIT = 4095
# Linux's user IDs; the last one means none (chown(2)).
_LAST_ID = 2**32 - 2
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_MODE = re.compile(r"[0-7]{3,4}", re.ASCII)
_PERMISSIONS, _OWNERS = 0o777, 0o600
# What systems call their users and groups, generously.
_ACCOUNT = re.compile(r"[A-Za-z_][^\s:/,]{0,255}")
# What systemd takes for one (credential_name_valid() in its source).
_CREDENTIAL = re.compile(r"[ -.0-9;-~]{1,255}", re.ASCII)


@attrs.frozen
class Parser:
    """How one kind of value is read.

    :ivar expected: what it is, to follow the word "expected".
    :ivar read: returns the value, or raises ValueError with a clause that begins with "found".
    """

    expected: str
    read: Callable[[Scalar], object]


def shown(scalar: Scalar) -> str:
    """Say what a value is that is no secret, in one short line."""
    text = excerpt(scalar.text)
    return f'the text "{text}"' if scalar.quoted else text


def read_text(scalar: Scalar) -> str:
    """Return the characters of a value whatever YAML takes it for: ``123:456`` is no number."""
    text = scalar.text
    if has_control(text):
        what = "a NUL" if "\0" in text else "a line break or another control character"
        raise ValueError(f"found {what} in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("found characters in it that UTF-8 cannot hold") from None
    return text


def _boolean(scalar: Scalar) -> bool:
    # The words are those that YAML 1.1 takes for booleans.
    word = scalar.text.lower()
    true = word in ("true", "yes", "on")
    if scalar.kind is Kind.BOOLEAN:
        return true
    if true or word in ("false", "no", "off"):
        raise ValueError(f"found {shown(scalar)} (write it without quotes)")
    hints = {"1": "true", "0": "false", "y": "true", "n": "false"}
    hint = f" (did you mean {hints[word]}?)" if word in hints else ""
    raise ValueError(f"found {shown(scalar)}{hint}")


def whole_number(lowest: int, highest: int) -> Parser:
    """Make the parser of a whole number in decimal digits."""

    def read(scalar: Scalar) -> int:
        if _INTEGER.fullmatch(scalar.text) is None:
            raise ValueError(f"found {shown(scalar)}")
        if scalar.quoted:
            raise ValueError(f"found {shown(scalar)} (write it without quotes)")
        value = int(scalar.text)
        if not lowest <= value <= highest:
            raise ValueError(f"found {value}")
        return value

    return Parser(f"a whole number from {lowest} to {highest}", read)


def choice(*words: str) -> Parser:
    """Make the parser of one word out of several."""

    def read(scalar: Scalar) -> str:
        if scalar.text in words:
            return scalar.text
        plain = scalar.text.lower().strip()
        near = next((word for word in words if plain in (word, word.removeprefix("v"))), None)
        hint = f" (did you mean {near}?)" if near else ""
        raise ValueError(f"found {shown(scalar)}{hint}")

    return Parser(f"{', '.join(words[:-1])} or {words[-1]}", read)


def _optional(parser: Parser) -> Parser:
    """Make the parser that takes an empty text for nothing said."""
    return Parser(parser.expected, lambda scalar: parser.read(scalar) if scalar.text else None)


def _seconds(scalar: Scalar) -> float:
    try:
        seconds = parse_duration(scalar.text)
    except ValueError as error:
        found = shown(scalar) if scalar.text else "an empty text"
        raise ValueError(f"found {found}: {error}") from None
    if seconds > LONGEST:
        raise ValueError(f"found {shown(scalar)}, more than 10 years")
    return seconds


def _timeout(scalar: Scalar) -> float:
    seconds = _seconds(scalar)
    if seconds <= 0:
        raise ValueError(f"found {shown(scalar)}")
    return seconds


def _interval(scalar: Scalar) -> float:
    seconds = _seconds(scalar)
    if seconds < 0:
        raise ValueError(f"found {shown(scalar)}")
    return seconds


def _directory(scalar: Scalar) -> str:
    text = read_text(scalar)
    if not text.startswith("/"):
        raise ValueError(f"found {shown(scalar)}" if text else "found an empty text")
    return text


def _mode_or_none(scalar: Scalar) -> int | None:
    # The digits count, in quotes or not: YAML 1.1 takes 0660 for another number than 660.
    text = scalar.text
    if not text:
        return None
    if _MODE.fullmatch(text) is None:
        raise ValueError(f"found {shown(scalar)}")
    mode = int(text, 8)
    if mode > _PERMISSIONS:
        raise ValueError(f"found {text}: the first of four digits is 0 for a socket")
    if mode & _OWNERS != _OWNERS:
        raise ValueError(f"found {text}, which keeps the owner from reading or writing")
    return mode


def _account_or_none(scalar: Scalar) -> str | None:
    text = read_text(scalar)
    if not text:
        return None
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) <= len(str(_LAST_ID)) else _LAST_ID + 1
        if number > _LAST_ID:
            raise ValueError(f"found {shown(scalar)}, more than {_LAST_ID}")
        return str(number)
    if _ACCOUNT.fullmatch(text) is None:
        raise ValueError(f"found {shown(scalar)}")
    return text


def _credential_or_none(scalar: Scalar) -> str | None:
    # Never repeated: who takes it for the place of the password itself writes that here.
    text = read_text(scalar)
    if not text:
        return None
    if ":" in text:
        raise ValueError("found a colon in it: write user:password into that credential")
    if "/" in text:
        raise ValueError("found a slash in it: write the credential's name alone, not its path")
    if _CREDENTIAL.fullmatch(text) is None or text in (".", ".."):
        raise ValueError("found something that is no file's name in ASCII")
    return text


def _file_or_none(scalar: Scalar) -> str | None:
    # Never repeated: who takes it for the place of the password itself writes that here.
    text = read_text(scalar)
    if not text:
        return None
    if not text.startswith("/"):
        raise ValueError("found something that does not begin with /")
    if text.endswith("/"):
        raise ValueError("found a directory (it ends with /)")
    length = len(text.encode())
    if length > _FILE_LIMIT:
        raise ValueError(f"found one of {length} bytes, more than {_FILE_LIMIT}")
    return text


def _path_or_empty(scalar: Scalar) -> str:
    text = read_text(scalar)
    return parse_path(text) if text else ""


def _socket(scalar: Scalar) -> str:
    return parse_socket_path(read_text(scalar))


def _socket_or_none(scalar: Scalar) -> str | None:
    return _socket(scalar) if scalar.text else None


def _listen_or_none(scalar: Scalar) -> str | None:
    text = read_text(scalar)
    return format_listen(*parse_listen(text)) if text else None


def _registry(scalar: Scalar) -> Registry:
    return parse_address(read_text(scalar))


def _registry_or_none(scalar: Scalar) -> Registry | None:
    if not scalar.text:
        return None
    return parse_address(read_text(scalar), "write it under `offline`, as `prefix: {}`")


def _credentials(scalar: Scalar) -> Credentials | None:
    text = read_text(scalar)
    if not text:
        return None
    if ":" not in text:
        raise ValueError("found no colon in it")
    try:
        return parse_credentials(text)
    except ValueError:
        raise ValueError("found no user before the colon") from None


_SOCKET_PATH = f"the absolute path of a socket, of at most {PATH_LIMIT} bytes"
_URL = "http://host[:port] or https://host[:port]"

BOOLEAN = Parser("true or false", _boolean)
TIMEOUT = Parser("a duration of more than 0, such as 15m or 1h30m", _timeout)
INTERVAL = Parser("a duration such as 15s or 1h30m, or 0", _interval)
DIRECTORY = Parser("the absolute path of a directory", _directory)
FILE = Parser("the absolute path of a file", _file_or_none)
CREDENTIAL = Parser("the name of a systemd credential", _credential_or_none)
MODE = Parser("three or four octal digits such as 0660", _mode_or_none)
USER = Parser("the name or number of a user", _account_or_none)
GROUP = Parser("the name or number of a group", _account_or_none)
PATH = Parser("a path such as team/proxy", _path_or_empty)
SOCKET = Parser(_SOCKET_PATH, _socket)
OPTIONAL_SOCKET = Parser(_SOCKET_PATH, _socket_or_none)
LISTEN = Parser("an address and a port such as 127.0.0.1:9317 or [::1]:9317", _listen_or_none)
LEVEL = _optional(choice("debug", "info", "warn", "error"))
REGISTRY = Parser(_URL, _registry)
OPTIONAL_REGISTRY = Parser(f'{_URL} (or "" for no offline registry)', _registry_or_none)
# What is found is never repeated for this one.
CREDENTIALS = Parser("user:password", _credentials)
