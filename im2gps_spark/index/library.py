"""The folder of an index: trainings and versions, each whole, and which of them is in use.

``trained/NAME/`` holds a training, ``versions/NAME/`` an index version, ``TRAINED`` and ``CURRENT`` the names in use.
A name is a hash of all that went in: the same input finds its result there.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.manifest import MANIFEST, TRAINED, Manifest
from im2gps_spark.index.plan import Plan
from im2gps_spark.index.recall import Recall
from im2gps_spark.index.training import Errors, Trained
from im2gps_spark.posterior.calibration import Calibration
from im2gps_spark.posterior.prior import Shape
from im2gps_spark.store.folder import DiskFolder, Folder

AT_WORK = "AT_WORK"
"""The mark (``store.lease``) in an index's folder of whoever changes it together with the tables."""

_CALIBRATION = "calibration.json"
_SHAPE = "prior.json"


@dataclass(frozen=True)
class Training:
    """What is known of a training besides its FAISS file."""

    name: str
    descriptor: str
    descriptor_version: str
    training_sample: str
    plan: dict[str, int]
    sha256: str
    coarse_error: float | None = None
    """Of the sample, as ``training.Errors``: what later photos' errors are held against. None: it was not measured."""
    code_error: float | None = None


def name_of(*parts: object) -> str:
    """Twelve hexadecimal digits that name a result by what it is made from."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


class Library:
    """An index's folder, on disk or in S3."""

    def __init__(self, root: Folder | Path) -> None:
        self.root: Folder = DiskFolder(root.absolute()) if isinstance(root, Path) else root

    def version_folder(self, version: str) -> Folder:
        """Where an index version lies."""
        return self.root / "versions" / version

    def put_training(
        self, trained: Trained, descriptor: str, version: str, sample: str, plan: Plan, errors: Errors | None = None
    ) -> Training:
        """Keeps a training, with the errors of its sample, and takes it into use."""
        data = trained.to_bytes()
        # The bytes, too: another release of this program or of FAISS trains otherwise on the same sample.
        name = name_of(descriptor, version, sample, plan.as_dict(), hashlib.sha256(data).hexdigest())
        folder = self.root / "trained" / name
        checksum = folder.write(TRAINED, data)
        lost = (errors.coarse, errors.code) if errors else (None, None)
        training = Training(name, descriptor, version, sample, plan.as_dict(), checksum, *lost)
        folder.write("training.json", json.dumps(asdict(training), indent=1, sort_keys=True).encode())
        self.root.write("TRAINED", name.encode())
        return training

    def training(self) -> tuple[Training, bytes]:
        """The training in use, and its FAISS file.

        Raises:
            UsageError: there is none.
            StageError: its file has changed.
        """
        name = self._in_use("TRAINED", "train")
        folder = self.root / "trained" / name
        try:
            training = Training(**json.loads(folder.read("training.json")))
            data = folder.read(TRAINED)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"index.root: the training {name} can't be read ({error}); run train") from error
        if hashlib.sha256(data).hexdigest() != training.sha256:
            raise StageError(f"{folder}/{TRAINED} has changed since it was written; run train again")
        return training, data

    def current(self) -> Manifest:
        """The manifest of the version in use.

        Raises:
            UsageError: there is none.
            StageError: a file of it is missing or has changed.
        """
        folder = self.version_folder(self._in_use("CURRENT", "build"))
        manifest = Manifest.read(folder)
        manifest.check_files(folder)
        return manifest

    def in_use(self) -> str | None:
        """The name of the version in use; None before the first."""
        try:
            return self._pointed_at("CURRENT")
        except FileNotFoundError:
            return None

    def versions(self) -> list[Manifest]:
        """The manifests of all versions, in use or not, in the order of their names.

        Raises:
            UsageError: one is of a format that this program does not know.
        """
        whole, _ = self._versions()
        return [Manifest.read(self.version_folder(version)) for version in whole]

    def written_at(self, version: str) -> dt.datetime:
        """When an index version was made whole, or last changed; in UTC."""
        return self.version_folder(version).written_at(MANIFEST)

    def go_to(self, version: str) -> None:
        """Takes a version that is there into use.

        Raises:
            UsageError: there is none of that name, or it can't be read.
            StageError: a file of it is missing or has changed.
        """
        folder = self.version_folder(version)
        Manifest.read(folder).check_files(folder)
        self.use(version)

    def remove_old(self, keep: int) -> list[str]:
        """Removes versions but for the one in use and the latest others, ``keep`` in all; returns their names."""
        whole, _ = self._versions()
        current = self.in_use()
        others = sorted((name for name in whole if name != current), key=lambda name: (self.written_at(name), name))
        gone = others[: max(0, len(others) - (keep - 1))]
        for version in gone:
            self.version_folder(version).remove(MANIFEST)  # first: without it the rest is no version
            (self.root / "versions").remove(version)
        return gone

    def remove_remains(self) -> int:
        """Removes what was broken off: folders of no version, and in a version's folder files that are none of its.

        Nothing must be about to write there. Returns how many folders and files there were.
        """
        whole, broken = self._versions()
        for version in broken:
            (self.root / "versions").remove(version)
        strange = []
        for version in whole:
            folder = self.version_folder(version)
            own = {MANIFEST, _CALIBRATION, _SHAPE, *Manifest.read(folder).files}
            strange += [(folder, name) for name in folder.names() if name not in own]
        for folder, name in strange:
            folder.remove(name)
        return len(broken) + len(strange)

    def _versions(self) -> tuple[list[str], list[str]]:
        """The names of versions that have a manifest, and of those that a build did not live to finish."""
        names = (self.root / "versions").names()
        whole = [name for name in names if MANIFEST in self.version_folder(name).names()]
        return whole, [name for name in names if name not in whole]

    def has(self, version: str) -> bool:
        """Whether a version is there, whole."""
        folder = self.version_folder(version)
        try:
            manifest = Manifest.read(folder)
        except UsageError:
            return False
        return all(folder.checksum(n) == s for n, s in manifest.files.items())

    def use(self, version: str) -> None:
        """Takes a version into use, in one step."""
        self.root.write("CURRENT", version.encode())

    def put_calibration(self, version: str, calibration: Calibration) -> None:
        """Keeps the calibration of an index version beside its files."""
        self.version_folder(version).write(_CALIBRATION, calibration.to_json().encode())

    def calibration(self, version: str) -> Calibration | None:
        """The calibration of an index version; None before it was made.

        Raises:
            StageError: the file can't be read.
        """
        folder = self.version_folder(version)
        try:
            return Calibration.from_json(folder.read(_CALIBRATION).decode())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StageError(f"{folder}/{_CALIBRATION} can't be read ({error}); run calibrate again") from error

    def put_recall(self, index: Manifest, recall: Recall) -> None:
        """Writes what was measured of an index version into its manifest, in one step.

        Args:
            index: the manifest of the version that was measured.

        Raises:
            StageError: the version has changed since.
        """
        folder = self.version_folder(index.index_version)
        now = Manifest.read(folder)
        if now.digest != index.digest:
            raise StageError(f"{folder} has changed while it was measured; run tune again")
        replace(now, recall=recall).write(folder)

    def put_shape(self, version: str, shape: Shape) -> None:
        """Keeps what an index version's prior is made of beside its files."""
        self.version_folder(version).write(_SHAPE, shape.to_json().encode())

    def shape(self, version: str) -> Shape:
        """What an index version's prior is made of.

        Raises:
            UsageError: there is none, or it can't be used.
        """
        folder = self.version_folder(version)
        try:
            return Shape.from_json(folder.read(_SHAPE).decode())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{folder}/{_SHAPE}: {error}; run build") from error

    def _in_use(self, pointer: str, stage: str) -> str:
        try:
            return self._pointed_at(pointer)
        except OSError as error:
            raise UsageError(f"index.root: nothing to use in {self.root}; run {stage} first") from error

    def _pointed_at(self, pointer: str) -> str:
        return self.root.read(pointer).decode().strip()
