"""``mxml predict``."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click

from mxml.cli.interrupts import until_interrupted
from mxml.cli.options import load_classifier, merged_thresholds, model_options, threshold_option, tta_option
from mxml.cli.output_options import OutputOptions, output_options
from mxml.cli.picture_options import PictureOptions, picture_options
from mxml.cli.pipeline_option import pipeline_option
from mxml.cli.standard_input import content_waits
from mxml.cli.video_options import video_options
from mxml.cli.wording import with_options
from mxml.inference.limits import UNLIKE
from mxml.progress import ConsoleProgress

# What jetson-inference and PaddleX call these options.
_OTHER_NAMES = {
    "topK": "top-k",
    "topk": "top-k",
    "model": "prefix",
    "network": "prefix",
    "save_path": "save-path",
}


@click.command(name="predict", context_settings={"token_normalize_func": lambda name: _OTHER_NAMES.get(name, name)})
@click.argument("inputs", nargs=-1, metavar="[IMAGE | FOLDER | PATTERN | LIST | VIDEO | URL | -]... [NAME_%i.jpg]")
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
@tta_option
@click.option(
    "--skip-bad", is_flag=True, help="Exit with 0 even if images cannot be read; they are reported either way."
)
@click.option(
    "--unlike",
    type=click.Choice(UNLIKE),
    help="Images unlike the training images: mark them, drop their labels, or do not look for them.  "
    "[default: mark, where the checkpoint describes its training images]",
)
@click.option(
    "--root",
    metavar="DIR",
    help="Folder that the paths of lists and text files are under.  "
    "[default: of a list as lists.json says, else images or the list's folder; of a text file the working directory]",
)
@video_options
@picture_options
@output_options
@click.option("--part", metavar="K/N", help="Predict part K of N, such as 3/16; all parts together are all images.")
@click.option(
    "--stream", is_flag=True, help="Read paths from stdin, one per line, and answer each with one line of JSON."
)
@click.option("--input", "more_inputs", multiple=True, hidden=True)
def command(
    inputs: tuple[str, ...],
    more_inputs: tuple[str, ...],
    top_k: int,
    threshold: tuple[Any, ...],
    tta: tuple[str, ...],
    skip_bad: bool,
    root: str | None,
    camera: int | None,
    every: int | None,
    frames: int | None,
    unlike: str | None,
    save_img: str | None,
    save_path: str | None,
    contact_sheet: str | None,
    save_video: str | None,
    tagged_frames: bool,
    part: str | None,
    stream: bool,
    batch_size: int,
    decode_threads: int | None,
    as_json: bool,
    as_csv: bool,
    scores: bool,
    out: str | None,
    resume: bool,
    force: bool,
    **model: Any,
) -> None:
    """Tag images with a checkpoint: by default the images of the run's validation list.

    A LIST is a .lst or .rec file, or a .txt file with one path on each line; - reads an image from standard input.
    Videos in a FOLDER are left out; name them, or a PATTERN such as 'clips/*.mp4'. A last argument such as
    tagged/%i.jpg names pictures to draw, with a number in place of %i. The names that jetson-inference and PaddleX
    have for options are taken as well: --model, --topK, --input, --save_path.
    """
    from mxml.inference.input_names import Camera, is_camera
    from mxml.inference.numbered_files import split_numbered
    from mxml.inference.part import Part
    from mxml.inference.results.tally import Tally

    outputs = OutputOptions(as_json, as_csv, scores, out, resume, force)
    names, numbered = split_numbered((*more_inputs, *inputs))
    images: list[Any] = [*names, *([] if camera is None else [Camera(camera)])]
    drawn = PictureOptions(save_img, save_path, numbered, contact_sheet, save_video, tagged_frames)
    drawn.check_continued(resume, part)
    if force and not (out or drawn.named):
        raise click.UsageError("--force replaces --out, --contact-sheet, --save-video or NAME_%i.jpg; none is given")
    drawn.check_inputs(names, root, force)
    own_part = Part.parse(part) if part else None
    given: dict[str, Any] = {
        "threshold": merged_thresholds(threshold),
        "top_k": top_k,
        "unlike": unlike,
        "tta": list(tta),
    }
    reading: dict[str, Any] = {"batch_size": batch_size, "threads": decode_threads}
    with ConsoleProgress(wording=with_options) as progress:
        if stream:
            if images or drawn or out or part or as_csv or root or every or frames:
                raise click.UsageError(
                    "--stream reads paths from stdin and answers in JSON; leave out all else of these"
                )
            _answer(load_classifier(progress, **model), scores, **given, **reading)
            return
        classifier = load_classifier(progress, **model)
        if not images and content_waits():
            progress.note("standard input is not read without -: the images are those of the run's validation list")
        frames_of: dict[str, Any] = {"every": every, "frames": frames}
        with contextlib.ExitStack() as opened:
            pictures = opened.enter_context(drawn.open(progress))

            def skip(path: str) -> bool:
                left_out = (own_part is not None and not own_part.holds(path)) or output.holds(path)
                if left_out:
                    pictures.leave_out(path)
                return left_out

            # What is wrong with the inputs is said here, before a file is begun or replaced.
            predictions = classifier.predict(
                images or None,
                **given,
                **reading,
                **frames_of,
                root=root,
                keep_pixels=pictures.need_pixels,
                skip=skip if part or resume else None,
                progress=progress,
            )
            is_live = any(map(is_camera, images))
            together = 1 if is_live else batch_size
            output = outputs.open(classifier, {**given, **frames_of}, part, together, progress)
            opened.enter_context(output)
            tally = Tally(*output.held)
            if is_live:
                predictions = until_interrupted(predictions)
            for prediction in predictions:
                tally.add_prediction(prediction, progress)
                # A picture first: what the file holds is not drawn again.
                pictures.write(prediction)
                output.write(prediction)
    tally.check(skip_bad, of_list=bool(names) and all(name.lower().endswith((".lst", ".txt")) for name in names))


def _answer(classifier: Any, scores: bool, **settings: Any) -> None:
    from mxml.inference.path_stream import answers
    from mxml.inference.results.layouts import layout

    rows = layout("jsonl", classifier.label_names, scores)
    for prediction in answers(classifier, sys.stdin.fileno(), **settings):
        click.echo(rows.row(prediction, first=False), nl=False)
