"""Messages on disk: the files of `storage/spill.py`, in the words of a mailbox."""

from __future__ import annotations

import inspect
import tempfile
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actorkit._runtime.overflow import Popped, SpillToDisk
from actorkit.errors import DecodingError, EncodingError, SpecTypeError
from actorkit.events import SpillFailed, SpillRepaired
from actorkit.policy.checks import complaint
from actorkit.policy.recovery import DeadLetterReason
from actorkit.storage.codec import Codec
from actorkit.storage.segments import Damaged
from actorkit.storage.spill import SpillFiles

if TYPE_CHECKING:
    from actorkit._runtime.mailbox import Mailbox


MAX_BYTES: Final = 2**30
"""What one port may have on disk; beyond it, senders wait."""


class SpillFolder:
    """Where the SPILL_TO_DISK ports of one system keep their files: a given folder, or one that goes with the system."""

    def __init__(self, folder: str | Path | None) -> None:
        if not (folder is None or isinstance(folder, (str, Path))):
            raise SpecTypeError(complaint("the system", "spill_to", folder, "a folder's path, or None"))
        self._given = None if folder is None else Path(folder)
        self._made: tempfile.TemporaryDirectory[str] | None = None

    def open(self, mailbox: Mailbox) -> SpillToDisk:
        """The strategy of one port, with whatever an earlier process left in its files.

        Raises:
            OSError: the folder can't be made or written, or another process has these files open (StorageError).
        """
        if self._given is None and self._made is None:
            self._made = tempfile.TemporaryDirectory(prefix="actorkit-spill-")
        folder = self._given if self._given is not None else Path(self._made.name if self._made is not None else "")
        files = SpillFiles(folder, mailbox.path, max_bytes=MAX_BYTES)
        for repair in files.repairs:
            mailbox.cell.kernel.events.publish(SpillRepaired(mailbox.path, repair.messages, repair.reason))
        return SpillToDisk(_Messages(files, Codec(*classes_of(mailbox)), mailbox), lasting=self._given is not None)

    def close(self) -> None:
        """Removes a folder of its own."""
        if self._made is not None:
            self._made.cleanup()


class _Messages:
    """The messages of one port, as records of its files."""

    def __init__(self, files: SpillFiles, codec: Codec, mailbox: Mailbox) -> None:
        self._files = files
        self._codec = codec
        self._mailbox = mailbox
        self._refused: set[type] = set()  # classes that could not be encoded, and were reported

    def append(self, message: object) -> bool:
        try:
            record = self._codec.encode(message)
        except EncodingError as error:
            kind = type(message)
            if kind not in self._refused:
                self._refused.add(kind)
                self._mailbox.cell.kernel.events.publish(SpillFailed(self._mailbox.path, error))
            return False
        return self._files.append(record)

    def popleft(self) -> Popped:
        record = self._files.popleft()
        if isinstance(record, Damaged):
            return Popped(record, DeadLetterReason.CORRUPT, record.messages)
        try:
            return Popped(self._codec.decode(record))
        except DecodingError:
            return Popped(record, DeadLetterReason.UNDECODABLE)

    def __len__(self) -> int:
        return len(self._files)

    def close(self) -> None:
        self._files.close()


def classes_of(mailbox: Mailbox) -> tuple[object, ...]:
    """What the port's messages are made of: the whole annotation, `list[Row]`, where it can be had; else the classes it stands for."""
    function = inspect.unwrap(mailbox.cell.in_ports[mailbox.name].function)
    try:
        hints = typing.get_type_hints(function)
        return (hints[list(inspect.signature(function).parameters)[1]],)
    except (NameError, TypeError, AttributeError, SyntaxError, KeyError):  # of a class that is local to a function, say
        return mailbox.types if isinstance(mailbox.types, tuple) else (mailbox.types,)
