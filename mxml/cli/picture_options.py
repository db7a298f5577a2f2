"""The options that have predictions drawn, and where to."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mxml.images.choices import VIDEO_SUFFIXES as READ_SUFFIXES
from mxml.progress import Progress

if TYPE_CHECKING:
    from mxml.inference.results.pictures import Pictures

Command = TypeVar("Command", bound=Callable[..., Any])


def picture_options(command: Command) -> Command:
    """Add the options whose values ``PictureOptions`` takes."""
    options = (
        click.option(
            "--save-img",
            metavar="DIR",
            help="Also draw each image with its labels into DIR/NAME_res.jpg, or NAME_2_res.jpg where that is taken.",
        ),
        click.option(
            "--save-path", metavar="DIR", help="Also write DIR/NAME_res.jpg and DIR/NAME_res.json for each image."
        ),
        click.option(
            "--contact-sheet",
            metavar="FILE",
            help="Also draw all images on pages of 36: FILE.jpg, then FILE_2.jpg, ...",
        ),
        click.option(
            "--save-video",
            metavar="FILE",
            help="Also write the video that is tagged with its labels, such as FILE.mp4.",
        ),
        click.option("--tagged-frames", is_flag=True, help="Leave frames that are not tagged out of --save-video."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class PictureOptions:
    """The values of ``picture_options``, and of the argument NAME_%i.jpg."""

    save_img: str | None
    save_path: str | None
    numbered: str | None
    contact_sheet: str | None
    save_video: str | None
    tagged_frames: bool

    def __bool__(self) -> bool:
        return any((self.save_img, self.save_path, self.numbered, self.contact_sheet, self.save_video))

    def check_continued(self, resume: bool, part: str | None) -> None:
        """Raise UsageError for pictures of all images at once where a process sees only some of them."""
        if self.numbered and (resume or part):
            raise click.UsageError(
                f"{self.numbered}: is numbered from 0 by each process; give --save-img with --resume and --part"
            )
        for option, value in (("--contact-sheet", self.contact_sheet), ("--save-video", self.save_video)):
            if value and (resume or part):
                raise click.UsageError(f"{option} shows all images, of which --resume and --part leave some out")

    @property
    def named(self) -> bool:
        """Say whether there are pictures whose names a person gives, which --force replaces."""
        return any((self.numbered, self.contact_sheet, self.save_video))

    def check_inputs(self, names: Sequence[str], root: str | None, force: bool) -> None:
        """Refuse files that exist or are inputs, and several videos for one, before the first has been tagged."""
        from mxml.inference.named_output import pages, require_output
        from mxml.inference.numbered_files import existing_numbered, first_numbered

        if self.contact_sheet:
            require_output(self.contact_sheet, names, root, replace=force, more=pages(self.contact_sheet))
        if self.save_video:
            require_output(self.save_video, names, root, replace=force)
        if self.numbered:
            existing = existing_numbered(self.numbered)
            require_output(first_numbered(self.numbered), names, root, replace=force, more=existing)
        found = (path for name in names for path in (glob.glob(name) or [name]))
        videos = [path for path in found if path.lower().endswith(READ_SUFFIXES)]
        if self.save_video and len(videos) > 1:
            raise click.UsageError(f"--save-video shows one video, not {videos[0]} and {videos[1]}; give one at a time")

    def open(self, progress: Progress) -> Pictures:
        """Return what the pictures are written to."""
        from mxml.inference.results.pictures import Pictures

        return Pictures(
            self.save_img,
            self.save_path,
            self.numbered,
            self.contact_sheet,
            self.save_video,
            self.tagged_frames,
            progress,
        )
