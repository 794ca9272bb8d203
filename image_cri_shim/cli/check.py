"""``image-cri-shim check``: say what is wrong with a configuration, and try its registries."""

from __future__ import annotations

import argparse
import grp
import os
import pwd
import time
from collections.abc import Iterator
from typing import Any

import attrs

from image_cri_shim.cli import streams
from image_cri_shim.cli.check_report import Report, as_object, complaints, summary
from image_cri_shim.cli.configuration import (
    STANDARD_INPUT,
    Source,
    add_config_option,
    file_name,
    read_configuration,
    source_name,
)
from image_cri_shim.cli.status import FAILED, FOUND, UNREACHABLE, UNUSABLE
from image_cri_shim.cli.terminal import as_json, complain, one_line
from image_cri_shim.config import Config, exposure, files, warnings
from image_cri_shim.credentials import DIRECTORY_VARIABLE
from image_cri_shim.errors import ConfigError, Problem


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "check",
        help="say what is wrong with a configuration",
        description=(
            "Reads a configuration as the daemon does and says everything that is wrong with it. "
            "Exit status: 0 nothing, 1 it is refused, or a file that it names cannot be used, or "
            "this cannot be written, 2 wrong command line or no standard input, "
            "3 a registry cannot be used (only with --online)."
        ),
    )
    command.add_argument(
        "file",
        nargs="?",
        type=file_name,
        metavar="FILE",
        help=f"the configuration file, {STANDARD_INPUT} for standard input [default: the daemon's]",
    )
    add_config_option(command)
    command.add_argument(
        "--online", action="store_true", help="try each registry: connection, TLS, credentials"
    )
    command.add_argument("--json", action="store_true", help="write JSON: one object")
    command.set_defaults(
        run=run, config_instead="`check` takes the file as it is: image-cri-shim check FILE"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    if options.file is not None and options.configuration is not None:
        complain("expected one file to check, found two: name it with or without --config")
        return UNUSABLE
    file = options.configuration if options.file is None else options.file
    try:
        source = read_configuration(file)
    except ConfigError as error:
        name = source_name(file)
        report = Report(name, None, error.problems, files=files(name))
    else:
        if source.note:
            complain(source.note)
        report = _examined(source)
        if options.online:
            report = _tried(source, report)
    if options.json:
        streams.write(as_json(as_object(report)))
    else:
        for line in complaints(report):
            streams.write_error(one_line(line))
        for line in summary(report):
            streams.write(one_line(line))
    if report.problems:
        return FAILED
    probes = report.probes if report.probes is not None else ()
    return FOUND if all(probe.usable for probe in probes) else UNREACHABLE


def _examined(source: Source) -> Report:
    """Say what there is to say without asking any registry."""
    config = source.config
    exposed = exposure(source.name, config)
    said = (*warnings(config), *([exposed] if exposed else []), *_strangers(config))
    report = Report(source.name, config, warnings=said, files=source.files)
    directory = os.environ.get(DIRECTORY_VARIABLE)
    registries = config.all_registries
    named = any(
        one.auth_file or one.auth_credential or one.ca_file or one.cert_file for one in registries
    )
    if not named and directory is None:
        return report
    # Imported here: what reads certificates takes longer than all the rest.
    from image_cri_shim.cli.named_files import check_files  # noqa: PLC0415

    # Where in which file a registry of several stands is not known any longer.
    findings = check_files(config, time.time(), directory, by_name=len(source.files) > 1)
    return attrs.evolve(
        report,
        problems=tuple(
            Problem(source.name, 0, 0, one.key, one.words) for one in findings if one.is_problem
        ),
        warnings=(*said, *(one.words for one in findings if not one.is_problem)),
    )


def _strangers(config: Config) -> Iterator[str]:
    """Yield to whom the socket is to belong and nobody here knows; elsewhere somebody may."""
    asked = (
        ("shimOwner", "user", config.shim_owner, pwd.getpwnam),
        ("shimGroup", "group", config.shim_group, grp.getgrnam),
    )
    for key, kind, name, find in asked:
        if name is not None and not name.isdigit():
            try:
                find(name)
            except KeyError:
                where = f"{key}: there is no {kind} {name} on this machine"
                yield f"{where}; create it, or correct {key}"


def _tried(source: Source, report: Report) -> Report:
    """Try all registries at the same time."""
    from image_cri_shim.cli.probing import probe_all  # noqa: PLC0415
    from image_cri_shim.cli.reactor import run_reactor  # noqa: PLC0415

    registries = report.registries
    directory = os.environ.get(DIRECTORY_VARIABLE)
    probes = run_reactor(lambda reactor: probe_all(registries, source.config, reactor, directory))
    return attrs.evolve(report, probes=tuple(probes))
