"""``mxml predict``."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import click

from mxml.cli.interrupts import until_interrupted
from mxml.cli.options import load_classifier, merged_thresholds, model_options, threshold_option
from mxml.cli.pipeline_option import pipeline_option
from mxml.cli.wording import with_options
from mxml.errors import MxmlError
from mxml.progress import ConsoleProgress
from mxml.text import counted


@click.command(name="predict")
@click.argument("inputs", nargs=-1, metavar="[IMAGE | FOLDER | PATTERN | LIST | VIDEO | URL | -]...")
@model_options
@pipeline_option
@click.option(
    "--top-k",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Best labels per image: of those over --threshold where it is given; 0 for all over the threshold.",
)
@threshold_option
@click.option(
    "--skip-bad", is_flag=True, help="Exit with 0 even if images cannot be read; they are reported either way."
)
@click.option(
    "--root",
    metavar="DIR",
    help="Folder that the paths of lists and text files are under.  "
    "[default: of a list as lists.json says, else images or the list's folder; of a text file the working directory]",
)
@click.option("--camera", type=click.IntRange(min=0), help="Tag what the camera of this number sees, until Ctrl-C.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    help="Of a video or camera take every so many frames.  [default: one per second of a video, all of a camera]",
)
@click.option("--frames", type=click.IntRange(min=1), help="Of each video or camera take at most so many frames.")
@click.option("--save-img", metavar="DIR", help="Also draw each image with its labels into DIR/NAME_res.jpg.")
@click.option(
    "--contact-sheet", metavar="FILE", help="Also draw all images on pages of 36: FILE.jpg, then FILE_2.jpg, ..."
)
@click.option(
    "--save-video", metavar="FILE", help="Also write the video that is tagged with its labels, such as FILE.mp4."
)
@click.option("--tagged-frames", is_flag=True, help="Leave frames that are not tagged out of --save-video.")
@click.option("--input", "more_inputs", multiple=True, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, one per image.")
def command(
    inputs: tuple[str, ...],
    top_k: int,
    threshold: tuple[Any, ...],
    skip_bad: bool,
    root: str | None,
    camera: int | None,
    every: int | None,
    frames: int | None,
    save_img: str | None,
    contact_sheet: str | None,
    save_video: str | None,
    tagged_frames: bool,
    more_inputs: tuple[str, ...],
    as_json: bool,
    batch_size: int,
    decode_threads: int | None,
    **model: Any,
) -> None:
    """Tag images with a checkpoint: by default the images of the run's validation list.

    A LIST is a .lst or .rec file, or a .txt file with one path on each line; - reads an image from standard input.
    Videos in a FOLDER are left out; name them, or a PATTERN such as 'clips/*.mp4'.
    """
    from mxml.inference.annotated_video import AnnotatedVideo
    from mxml.inference.contact_sheet import ContactSheet
    from mxml.inference.drawing_folder import DrawingFolder
    from mxml.inference.input_names import Camera, is_camera

    cameras = [] if camera is None else [Camera(camera)]
    with ConsoleProgress(wording=with_options) as progress, contextlib.ExitStack() as drawn:
        sheet = drawn.enter_context(ContactSheet(contact_sheet)) if contact_sheet else None
        video = drawn.enter_context(AnnotatedVideo(save_video, tagged_frames, progress)) if save_video else None
        classifier = load_classifier(progress, **model)
        predictions = classifier.predict(
            [*more_inputs, *inputs, *cameras] or None,
            threshold=merged_thresholds(threshold),
            top_k=top_k,
            batch_size=batch_size,
            threads=decode_threads,
            keep_pixels=bool(save_img or sheet or video),
            root=root,
            every=every,
            frames=frames,
            progress=progress,
        )
        drawings = None if save_img is None else DrawingFolder(save_img)
        read = bad = 0
        if any(map(is_camera, (*inputs, *cameras))):
            predictions = until_interrupted(predictions)
        for prediction in predictions:
            if prediction.error is not None:
                bad += 1
                progress.note(f"left out, cannot be read: {prediction.path}: {prediction.error.reason}")
            else:
                read += 1
            with progress.bar_hidden():
                if as_json:
                    click.echo(json.dumps(prediction.to_dict(), ensure_ascii=False))
                elif prediction.error is None:
                    click.echo(str(prediction))
            if drawings is not None and prediction.error is None:
                prediction.save_to_img(drawings.location(prediction.path, prediction.frame))
            if sheet is not None:
                sheet.add(prediction)
            if video is not None:
                video.add(prediction)
    if not read:
        raise MxmlError("no image could be read; the lines above say why")
    if bad and not skip_bad:
        raise MxmlError(
            f"{counted(bad, 'image')} of {read + bad:,} cannot be read; give --skip-bad for exit code 0 all the same"
        )
