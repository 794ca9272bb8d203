"""``image-cri-shim resolve``: explain what would be pulled and why, without pulling."""

from __future__ import annotations

import argparse
from typing import Any

from image_cri_shim.cli import streams
from image_cri_shim.cli.check_report import problems_as_objects
from image_cri_shim.cli.configuration import add_config_option, read_configuration
from image_cri_shim.cli.status import FAILED, FOUND, UNUSABLE
from image_cri_shim.cli.terminal import as_json, complain, one_line
from image_cri_shim.errors import ConfigError


def add_parser(commands: Any) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "resolve",
        help="explain where an image would be pulled from, without pulling it",
        description=(
            "Asks the configured registries as a pull would, and explains what would be pulled "
            "and why. Exit status: 0 every image was found on a configured registry, 1 at least "
            "one was not, or this cannot be written, 2 something is no image reference, or the "
            "configuration or the command line is wrong."
        ),
    )
    command.add_argument(
        "images", nargs="+", metavar="IMAGE", help="an image reference, such as nginx:1.25"
    )
    add_config_option(command)
    command.add_argument(
        "--json", action="store_true", help="write JSON: a list, an object for each"
    )
    command.set_defaults(
        run=run, config_instead="`resolve` has its own: image-cri-shim resolve --config FILE IMAGE"
    )


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    try:
        source = read_configuration(options.configuration)
    except ConfigError as error:
        complain("the configuration is refused:")
        for problem in error.problems:
            streams.write_error(one_line(str(problem)))
        if options.json:
            streams.write(as_json({"problems": problems_as_objects(error.problems)}))
        return UNUSABLE
    if source.note:
        complain(source.note)
    # Imported here: whoever asks for help need not wait for Twisted.
    from image_cri_shim.cli.explanation import Explanation, explain_all  # noqa: PLC0415
    from image_cri_shim.cli.explanation_json import as_objects  # noqa: PLC0415
    from image_cri_shim.cli.explanation_text import as_text  # noqa: PLC0415
    from image_cri_shim.cli.reactor import run_reactor  # noqa: PLC0415

    results = run_reactor(lambda reactor: explain_all(source.config, options.images, reactor))
    explanations = [one for one in results if isinstance(one, Explanation)]
    if options.json:
        streams.write(as_json(as_objects(results)))
    else:
        if explanations:
            streams.write("\n\n".join(as_text(one) for one in explanations))
        for one in results:
            if not isinstance(one, Explanation):
                complain(one.error)
    if len(explanations) < len(results):
        return UNUSABLE
    return FOUND if all(one.found for one in explanations) else FAILED
