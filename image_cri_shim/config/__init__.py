"""The configuration: from YAML files to one frozen value, or to everything wrong with them."""

from __future__ import annotations

from image_cri_shim.config.caution import exposure, warnings
from image_cri_shim.config.comparison import differences
from image_cri_shim.config.description import describe
from image_cri_shim.config.drop_ins import drop_in_directory, drop_ins, files
from image_cri_shim.config.durations import format_duration, parse_duration
from image_cri_shim.config.keys import (
    CACHE_KEYS,
    KEYS,
    LOG_KEYS,
    OFFLINE_KEYS,
    REGISTRY_KEYS,
    REWRITE_KEYS,
    RULE_KEYS,
    Key,
)
from image_cri_shim.config.loader import DEFAULT_CONFIG, NOTHING_SAID, load, parse, parse_bytes
from image_cri_shim.config.overrides import override
from image_cri_shim.config.settings import (
    COMPONENTS,
    CacheConfig,
    Config,
    Level,
    LogFormat,
    LogLevels,
    VersionChoice,
)
from image_cri_shim.config.sockets import KNOWN_SOCKETS, detect_runtime_socket, parse_listen

__all__ = [
    "CACHE_KEYS",
    "COMPONENTS",
    "DEFAULT_CONFIG",
    "KEYS",
    "KNOWN_SOCKETS",
    "LOG_KEYS",
    "NOTHING_SAID",
    "OFFLINE_KEYS",
    "REGISTRY_KEYS",
    "REWRITE_KEYS",
    "RULE_KEYS",
    "CacheConfig",
    "Config",
    "Key",
    "Level",
    "LogFormat",
    "LogLevels",
    "VersionChoice",
    "describe",
    "detect_runtime_socket",
    "differences",
    "drop_in_directory",
    "drop_ins",
    "exposure",
    "files",
    "format_duration",
    "load",
    "override",
    "parse",
    "parse_bytes",
    "parse_duration",
    "parse_listen",
    "warnings",
]
