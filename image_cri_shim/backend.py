"""What the admin interface tells and does: the daemon's parts, as an operator asks for them."""

from __future__ import annotations

from image_cri_shim import logs
from image_cri_shim.admin.backend import BadRequest, NotKnown
from image_cri_shim.daemon import Daemon
from image_cri_shim.measurements import Measurements
from image_cri_shim.pull_book import PullBook
from image_cri_shim.pull_record import Document, moment
from image_cri_shim.reference import InvalidReferenceError
from image_cri_shim.reload import ReloadService
from image_cri_shim.report import Report


class Backend:
    """Answers the admin interface; see ``admin.backend`` for what each method is.

    :param report: writes the status document.
    """

    def __init__(
        self,
        daemon: Daemon,
        reload: ReloadService,
        report: Report,
        measurements: Measurements,
    ) -> None:
        self._daemon = daemon
        self._reload = reload
        self._report = report
        self._measurements = measurements

    @property
    def book(self) -> PullBook:
        """The book of pulls."""
        return self._daemon.pulls

    def status(self) -> Document:
        """Return the status document."""
        return self._report.document()

    def metrics(self, accept: str) -> tuple[bytes, bytes]:
        """Return the metrics: their content type, and themselves."""
        # Imported here: it needs a library that may not be there, and memory.
        from image_cri_shim.admin.exposition import expose  # noqa: PLC0415

        return expose(self._measurements, accept)

    def ready(self) -> list[str]:
        """Return why pods may not start as they should; nothing if they should."""
        daemon, reasons = self._daemon, []
        if not daemon.listeners.paths:
            reasons.append(daemon.listeners.trouble or "no socket is served")
        if not daemon.runtime_answers:
            reasons.append(daemon.runtime_state)
        if self._reload.refusal is not None:
            reasons.append(str(self._reload.refusal))
        return reasons

    def reload(self) -> Document:
        """Read the configuration again."""
        taken, loaded_at = self._reload.taken, self._reload.loaded_at
        self._reload.reload()
        refusal = self._reload.refusal
        ok = refusal is None and self._reload.taken > taken
        why = "the daemon is stopping" if refusal is None else str(refusal)
        return {
            "ok": ok,
            "outcome": "the new configuration runs" if ok else why,
            "problems": [] if refusal is None else list(refusal.problems),
            "changes": list(self._daemon.changes) if ok else [],
            # Of the one that ran until now: a change may have been noticed before anybody asked.
            "loadedAt": moment(loaded_at),
        }

    def flush(self, image: str | None = None, registry: str | None = None) -> Document:
        """Forget what registries have answered.

        :raises BadRequest: the image is no reference.
        :raises NotKnown: there is no such registry.
        """
        resolution = self._daemon.resolution
        if resolution is None:
            return {"answers": 0, "breakers": 0}
        names = {one.name.lower() for one in self._daemon.config.all_registries}
        names |= {name.lower() for name in self._measurements.registries}
        if registry is not None and registry.lower() not in names:
            known = ", ".join(one.name for one in self._daemon.config.all_registries) or "none"
            raise NotKnown(f"there is no registry {registry}; configured are: {known}")
        try:
            answers, breakers = resolution.flush(image, registry)
        except InvalidReferenceError as error:
            raise BadRequest(str(error)) from error
        return {"answers": answers, "breakers": breakers}

    def set_level(self, component: str, level: str) -> Document:
        """Log another level of a component from now on, or of all.

        :raises BadRequest: there is no such component or level.
        """
        try:
            logs.override_level(component, level)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        return {"levels": logs.levels()}
