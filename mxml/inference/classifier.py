"""From a checkpoint and images to predictions and metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from numbers import Integral
from typing import TYPE_CHECKING, Callable

import numpy as np

from mxml.data.batches import Batches
from mxml.data.image_list import ImageList
from mxml.data.image_stream import AHEAD, StreamBatch, stream_batches
from mxml.data.label_names import read_output_names
from mxml.data.record_list import RecordList, image_source, read_images
from mxml.errors import CheckpointError, ImageError, ModelError, MxmlError, SettingError
from mxml.evaluation.evaluation import Evaluation
from mxml.evaluation.scored_list import ScoredList
from mxml.evaluation.scores import Scores, probabilities
from mxml.evaluation.thresholds import DEFAULT_THRESHOLD, Threshold, resolve_thresholds
from mxml.evaluation.tuning import MIN_SUPPORT
from mxml.images.network_input import Transform
from mxml.images.transforms import Preprocess
from mxml.inference.backend import Backend, CalibratedBackend
from mxml.inference.bound_backends import Binder, BoundBackends
from mxml.inference.checkpoint_data import assumptions, own_preprocess, replaced_names, validation_list
from mxml.inference.evaluated_list import read_evaluated_list, require_tolerable
from mxml.inference.input_names import Reading, whole
from mxml.inference.inputs import Inputs, InputStream
from mxml.inference.limits import BATCH_SIZE, MOST_BATCH_SIZE, MOST_THREADS
from mxml.inference.list_scores import collect
from mxml.inference.mxnet_backend import MxnetBackend
from mxml.inference.prediction import Prediction
from mxml.inference.preprocessing import changed_preprocess
from mxml.inference.tagging import ImageFeatures, Tagging, image_features, predictions
from mxml.inference.trained_lists import was_trained_on
from mxml.inference.tuning import DEFAULT_OBJECTIVE, TuningResult, own_tuning, tune
from mxml.inference.unlike import marked, wanted_distribution
from mxml.inference.views import Mirrored, Views
from mxml.model import checkpoint, described, symbols
from mxml.model.run_files import RunFiles
from mxml.model.saved_tuning import save_tuning
from mxml.model.tuning_record import TuningRecord
from mxml.progress import SILENT, Progress
from mxml.runtime.devices import default_device, parse_devices
from mxml.runtime.mxnet_errors import memory_checked
from mxml.runtime.types import Context

if TYPE_CHECKING:
    from mxml.inference.explain.explanation import Explanation
from mxml.text import counted, printable, shown_labels

_SHOWN_LABELS = 5


class Classifier:
    """A multi-label model, or one of single labels, ready to tag images and to be evaluated.

    Any classifier that ends in a softmax is one of single labels: a network as it was trained on ImageNet, too.
    ``Classifier.load`` makes one from a prefix. Several threads may use ``predict`` of one, or of several.

    Parameters
    ----------
    model : Checkpoint
        The symbol with its parameters, and the sidecar where there is one.
    device : str, optional
        ``cpu``, ``gpu`` or ``gpu:0,1``.
    preprocess : Preprocess, optional
        What is done to images; by default what the sidecar says, else what the original script does for 224 x 224.
    label_names : sequence of str, optional
        C names; by default the sidecar's, else ``class_0``, ``class_1``, ...
    bind : callable, optional
        Makes the backend for a Preprocess and a batch size; by default MXNet in float32.

    Attributes
    ----------
    label_names : tuple of str
        The C names, in the model's order.
    num_classes : int
        C.
    single_label : bool
        Whether the network ends in a softmax: an image has exactly one label, and its scores add up to 1.
    preprocess : Preprocess
        What is done to an image before the network sees it.
    thresholds : ndarray of shape (C,)
        The lowest score at which an image gets each label, float64: those that were tuned for the epoch, else the
        checkpoint's.
    calibration : Calibration or None
        What is done to logits before they become scores, where the tuning of the epoch has one.
    notes : tuple of str
        Lines that the user should read, such as what was assumed where the sidecar is missing.

    Raises
    ------
    ModelError
        If the symbol is not a network that ends in a sigmoid, a softmax or a fully connected layer.
    CheckpointError
        If the names are not as many as the network's labels.
    DeviceError
        If the device does not exist or cannot be used.
    """

    def __init__(
        self,
        model: checkpoint.Checkpoint,
        *,
        device: str | None = None,
        preprocess: Preprocess | None = None,
        label_names: Sequence[str] | None = None,
        bind: Binder | None = None,
    ):
        self.checkpoint = model
        try:
            head = symbols.describe_head(model.symbol, model.arg_params)
        except ModelError as error:
            raise ModelError(f"{RunFiles(model.prefix).symbol}: {error}") from error
        self.num_classes: int = head.num_classes
        self.single_label: bool = head.single_label
        self.preprocess: Preprocess = preprocess or own_preprocess(model)
        sidecar = model.sidecar
        names = label_names or (
            sidecar.label_names if sidecar else [f"class_{index}" for index in range(self.num_classes)]
        )
        if len(names) != self.num_classes:
            raise CheckpointError(
                f"{RunFiles(model.prefix).symbol}: gives {self.num_classes} scores for {len(names)} label names"
            )
        self.label_names: tuple[str, ...] = tuple(names)
        self.thresholds: np.ndarray = np.asarray(
            sidecar.thresholds if sidecar else [DEFAULT_THRESHOLD] * self.num_classes, dtype=np.float64
        )
        self.notes = assumptions(
            model,
            preprocess_assumed=preprocess is None,
            names_assumed=() if label_names else self.label_names,
            softmax_assumed=head.lacks_softmax,
        )
        self.notes += replaced_names(model, self.label_names)
        tuning, stale = own_tuning(model, self.single_label)
        self.notes += stale
        self.calibration = None if tuning is None else tuning.logit_calibration
        if tuning is not None:
            self.thresholds = np.array(tuning.thresholds, dtype=np.float64)
        self._devices = parse_devices(device or default_device())
        self._bound = BoundBackends(bind or self._bind_mxnet)
        # Read once: a program may call predict for each of many images.
        self._description = lru_cache(maxsize=1)(partial(described.load, model))

    @classmethod
    def load(
        cls,
        prefix: str | os.PathLike[str],
        epoch: int | None = None,
        *,
        device: str | None = None,
        preprocess: Preprocess | None = None,
        label_names: Sequence[str] | str | os.PathLike[str] | None = None,
        image_shape: Sequence[int] | None = None,
        fit: str | None = None,
        preset: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channels: str | None = None,
    ) -> Classifier:
        """Load a checkpoint.

        Parameters
        ----------
        prefix : str or path-like
            The checkpoint's prefix, such as ``runs/clothes``, or one of its files, such as
            ``runs/clothes-0018.params``, which then also says the epoch.
        epoch : int, optional
            By default the best; without a sidecar the newest.
        device : str, optional
            ``cpu``, ``gpu`` or ``gpu:0,1``.
        preprocess : Preprocess, optional
            Replaces the sidecar's, or what is assumed without one.
        label_names : sequence of str or path, optional
            C names, or a file with one name per line. Replaces the sidecar's. A name that a file has twice gets the
            number of its line.
        image_shape : sequence of int, optional
            (3, height, width) of the network's input, in place of the preprocessing's.
        fit : {"crop", "letterbox", "stretch"}, optional
            How images of another shape fill the input, in place of the preprocessing's.
        preset : str, optional
            ``original``, ``imagenet`` or ``caffe``, in place of all of the preprocessing but its size. They crop,
            unless ``fit`` says otherwise.
        mean, std : sequence of float, optional
            Three numbers each on the scale 0 to 255, in the network's channel order, in place of the preprocessing's.
        channels : str, optional
            ``rgb`` or ``bgr``, the network's channel order, in place of the preprocessing's.

        Returns
        -------
        Classifier

        Raises
        ------
        CheckpointError, ModelError
            If files are missing or damaged, or do not fit each other.
        SettingError
            If an argument has an invalid value.
        """
        model = checkpoint.load(os.fspath(prefix), epoch)
        given = {
            "image_shape": image_shape,
            "fit": fit,
            "preset": preset,
            "mean": mean,
            "std": std,
            "channels": channels,
        }
        if any(value is not None for value in given.values()):
            preprocess = changed_preprocess(preprocess or own_preprocess(model), **given)  # type: ignore[arg-type]
        if isinstance(label_names, (str, os.PathLike)):
            label_names = read_output_names(
                label_names, symbols.describe_head(model.symbol, model.arg_params).num_classes
            )
        return cls(model, device=device, preprocess=preprocess, label_names=label_names)

    def __repr__(self) -> str:
        """Return the checkpoint, its epoch and the first labels in one line."""
        labels = f"{counted(self.num_classes, 'label')}: {shown_labels(self.label_names, _SHOWN_LABELS)}"
        return f"<Classifier {printable(f'{self.checkpoint.prefix}, epoch {self.checkpoint.epoch}, {labels}')}>"

    @property
    def devices(self) -> tuple[Context, ...]:
        """The devices that the network runs on.

        Returns
        -------
        tuple of Context
        """
        return tuple(self._devices)

    def predict(
        self,
        inputs: Inputs | None = None,
        *,
        threshold: Threshold | None = None,
        top_k: int = 0,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        keep_pixels: bool = False,
        root: str | os.PathLike[str] | None = None,
        every: int | None = None,
        frames: int | None = None,
        skip: Callable[[str], bool] | None = None,
        unlike: str | None = None,
        tta: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> Iterator[Prediction]:
        """Tag images, one after the other, when their predictions are asked for.

        The memory does not grow with the number of images: they are read a few batches ahead. Every image gives a
        prediction, in the order of ``inputs``; an image that cannot be read gives one with an ``error``, and so does
        a folder or pattern without images. Several threads may call it at the same time; the network computes for one
        of them after the other.

        Parameters
        ----------
        inputs : str, path-like, bytes, ndarray, PIL image, ImageList, Camera, dict, or iterable of these, optional
            By default the images of the run's validation list. Otherwise:

            - The name of an image file, of a folder (the images below it, not its videos), or a pattern such as
              ``photos/*.jpg``.
            - A list: ``.lst`` or ``.rec``, whose labels are not used; a ``.txt`` file with one path on each line.
            - A video, such as ``clip.mp4``; ``/dev/video0`` or ``Camera(0)``.
            - An ``http://`` or ``https://`` URL of an image, at most 64 MiB, which has to arrive within a minute.
              URLs in lists and text files are not fetched.
            - ``-`` for the content of an image file on standard input.
            - An image file's content as bytes; an image of Pillow.
            - Pixels as an array (H, W, 3) uint8 in RGB order, grey ones (H, W), or N images (N, H, W, 3); also what
              NumPy can read as such, for example a tensor of PyTorch. OpenCV and PaddleX have BGR order: give
              ``image[..., ::-1]``.
            - ``{"img": input}``, as PaddleX has it, and any list or generator of all these, nested up to 100 deep.
        threshold : float, sequence of float, or mapping of str to float, optional
            The lowest score at which an image gets a label: for all labels, for each, or by name; labels that are not
            named keep the checkpoint's. By default the checkpoint's.
        top_k : int, default 0
            The largest number of labels per image, the best ones; 0 gives all that reach their threshold. If
            ``threshold`` is given, only labels that reach it count; otherwise scores do not matter. A network of single
            labels gives the best one where neither is given.
        batch_size : int, default 32
            Images that the network computes at a time, from 1 to 65536.
        threads : int, optional
            Threads that decode, from 1 to 256; by default as many as physical cores.
        keep_pixels : bool, default False
            Let each prediction keep its image, for ``draw``.
        root : str or path-like, optional
            The folder that the paths of lists and text files are under. By default that of a list is what
            ``lists.json`` beside it says, else ``images`` or the list's own folder; the paths of a text file are
            relative to the working directory.
        every : int, optional
            Of a video or a camera take every so many frames. By default the first frame of each second of a video: its
            tags seldom change faster, and all frames would take 30 times as long; and each frame of a camera.
        frames : int, optional
            Of each video or camera take at most so many frames.
        skip : callable, optional
            Gets the path of each image, in their order; one that it returns True for is not read, and gives no
            prediction. ``Part.holds`` tells which images are another machine's.
        unlike : {"mark", "drop", "off"}, optional
            What to do with images unlike the training images: let their prediction say so, give them no label either,
            or do not look for them. By default they are marked if the checkpoint has a description of its training
            images, and images are prepared as in training.
        tta : sequence of {"flip", "multi-scale"}, default ()
            Test-time augmentation: see each image mirrored as well, and at 0.8 and 1.25 times the size. The logits are
            the mean over all of these. It takes two and three times as long, and six times together.
        progress : Progress, optional
            Receives the number of finished images.

        Returns
        -------
        iterator of Prediction

        Raises
        ------
        SettingError
            If a threshold is not from 0 to 1, or names a label that is not there; if a number is not whole or not
            within its bounds.
        CheckpointError
            If images unlike the training images are asked for, and the checkpoint cannot tell them.
        MxmlError
            If the only input is a name that gives no image, or a list that is wrong, or the validation list cannot be
            used.
        TypeError
            If an input is none of the above, such as an array of other numbers than uint8.
        ModelError
            If a score is not finite.
        DeviceError
            If there is not enough memory; a smaller ``batch_size`` needs less.
        """
        _check_counts(batch_size, top_k, threads)
        thresholds = resolve_thresholds(threshold, self.label_names, self.thresholds)
        if self.single_label and threshold is None:
            top_k, thresholds = top_k or 1, np.zeros_like(thresholds)
        views = Views.of(self.preprocess, tta)
        views.check(self.checkpoint)
        for setting, value in (("every", every), ("frames", frames)):
            if value is not None and (not _is_whole(value) or value < 1):
                raise SettingError(setting, value, "a whole number, 1 or more")
        reading = Reading(
            None if root is None else os.fspath(root),
            every,
            frames,
            whole if keep_pixels else Transform(views.preprocesses[-1]).reduction,
            progress,
        )
        stream = InputStream(self._validation_images(progress) if inputs is None else inputs, reading, skip)
        # What a camera sees is wanted now, and not when a batch is full.
        batch_size, ahead = (1, 0) if stream.live else (batch_size, AHEAD)
        batches = stream_batches(
            stream,
            self.preprocess,
            batch_size,
            threads=threads,
            prefetch=ahead,
            keep_pixels=keep_pixels,
            more_views=views.preprocesses[1:],
        )
        distribution = wanted_distribution(self.checkpoint, self.preprocess, unlike, progress, self._description)
        tagging = Tagging(self.label_names, thresholds, top_k, threshold is None, self.single_label, distribution)
        if stream.count is not None:
            progress.start(stream.count, "predicting")
        found = predictions(
            _memory_checked(batches, batch_size), partial(self._backends, views), tagging, progress.advance
        )
        return found if distribution is None else marked(found, distribution, unlike, progress)

    def tells_unlike(self, unlike: str | None = None) -> bool:
        """Say whether ``predict`` tells images unlike the training images, so that predictions have a ``distance``.

        Parameters
        ----------
        unlike : {"mark", "drop", "off"}, optional
            As for ``predict``.

        Returns
        -------
        bool

        Raises
        ------
        SettingError, CheckpointError
            As ``predict`` for ``unlike``.
        """
        return wanted_distribution(self.checkpoint, self.preprocess, unlike, SILENT, self._description) is not None

    def features(
        self,
        inputs: Inputs,
        *,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        progress: Progress = SILENT,
    ) -> np.ndarray:
        """Return what the network's head makes its scores of: a vector per image.

        ``SimilarIndex`` looks for similar images by them.

        Parameters
        ----------
        inputs, batch_size, threads, progress
            As for ``predict``; without a default for ``inputs``.

        Returns
        -------
        ndarray of shape (N, D)
            float32, in the order of ``inputs``; NaN for images that cannot be read.

        Raises
        ------
        SettingError, MxmlError, DeviceError
            As for ``predict``.
        """
        found = self.image_features(inputs, batch_size=batch_size, threads=threads, progress=progress)
        rows = [image.features for image in found]
        size = next((len(row) for row in rows if row is not None), 0)
        vectors = np.full((len(rows), size), np.nan, np.float32)
        for number, row in enumerate(rows):
            if row is not None:
                vectors[number] = row
        return vectors

    def image_features(
        self,
        inputs: Inputs,
        *,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        progress: Progress = SILENT,
    ) -> Iterator[ImageFeatures]:
        """Compute what ``features`` returns, one image after the other, with the images' names.

        Parameters
        ----------
        inputs, batch_size, threads, progress
            As for ``features``.

        Returns
        -------
        iterator of ImageFeatures
            ``path``, ``features`` (D,) float32, None for an image that cannot be read, and ``error``.

        Raises
        ------
        SettingError, MxmlError, DeviceError
            As for ``predict``.
        """
        _check_counts(batch_size, 0, threads)
        stream = InputStream(inputs, Reading(reduction=Transform(self.preprocess).reduction, progress=progress))
        batches = stream_batches(stream, self.preprocess, batch_size, threads=threads)
        if stream.count is not None:
            progress.start(stream.count, "features")
        backends_for = partial(self._backends, Views.of(self.preprocess, ()))
        return image_features(_memory_checked(batches, batch_size), backends_for, progress.advance)

    def explain(
        self,
        inputs: Inputs,
        *,
        labels: Sequence[str] | str | None = None,
        threshold: Threshold | None = None,
        top_k: int = 0,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        progress: Progress = SILENT,
    ) -> Iterator[Explanation]:
        """Show where in images their labels are seen, one after the other, when their explanations are asked for.

        Every image gives an explanation, in the order of ``inputs``; of one that cannot be read it has an ``error``.

        Parameters
        ----------
        inputs, threshold, top_k, batch_size, threads
            As for ``predict``. The images of one batch are in memory at once.
        labels : str or sequence of str, optional
            The names of the labels to explain. By default those that each image gets, and of one that gets none the
            best.
        progress : Progress, optional
            Receives the number of finished images.

        Returns
        -------
        iterator of Explanation

        Raises
        ------
        SettingError
            If a name is no label; also as ``predict``.
        CheckpointError
            If no layer with an area leads to the network's scores alone.
        MxmlError, ModelError, DeviceError
            As for ``predict``.
        """
        # Most processes explain nothing.
        from mxml.inference.explain.explaining import Explaining, check_names, explainer_of, explanations

        names = check_names([labels] if isinstance(labels, str) else labels, self.label_names)
        predictions = self.predict(
            inputs,
            threshold=threshold,
            top_k=top_k,
            batch_size=batch_size,
            threads=threads,
            keep_pixels=True,
            progress=Explaining(progress),
        )
        explainer = explainer_of(self.checkpoint, self._devices[0], self.preprocess)
        return explanations(predictions, explainer, self.preprocess, names, self.calibration, progress)

    def evaluate(
        self,
        data: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        *,
        threshold: Threshold | None = None,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        skip_bad: bool = False,
        allow_absolute: bool = False,
        tta: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> Evaluation:
        """Evaluate the model on a list: compare its predictions with the labels.

        Parameters
        ----------
        data : str or path-like, optional
            A ``.lst`` or ``.rec`` file with as many labels per image as the model has. By default the run's validation
            list.
        root : str or path-like, optional
            The folder that its paths are under. By default the run's for the run's list, and for another list what
            ``lists.json`` beside it says, else ``images``.
        threshold : float, sequence of float, or mapping of str to float, optional
            As for ``predict``. A network of single labels has none: the label of the highest score is predicted.
        batch_size : int, default 32
            Images that the network computes at a time.
        threads : int, optional
            Threads that decode; by default as many as physical cores.
        skip_bad : bool, default False
            Leave out images that cannot be read, and report them. Of the run's own list as large a share as training
            allowed is left out without it.
        allow_absolute : bool, default False
            Let the list name images by absolute paths or outside of ``root``.
        tta : sequence of {"flip", "multi-scale"}, default ()
            As for ``predict``.
        progress : Progress, optional
            Receives the number of finished images.

        Returns
        -------
        Evaluation

        Raises
        ------
        ListError
            If the list is wrong; it names every line. A network of single labels takes lists with one label per image.
        ImageError
            If an image cannot be read, unless ``skip_bad``; of the run's own list, if more cannot than its training
            allowed.
        SettingError
            If a threshold is not valid, or ``data`` is missing.
        CheckpointError
            If the run's own list does not exist, or may not be used because the sidecar is not trusted.
        ModelError, DeviceError
            As for ``predict``.
        """
        if self.single_label and threshold is not None:
            wanted = "left out: of single labels the one with the highest score is predicted"
            raise SettingError("threshold", threshold, wanted)
        thresholds = resolve_thresholds(threshold, self.label_names, self.thresholds)
        scored = self.score_list(
            data,
            root,
            batch_size=batch_size,
            threads=threads,
            skip_bad=skip_bad,
            allow_absolute=allow_absolute,
            tta=tta,
            progress=progress,
        )
        if was_trained_on(self.checkpoint.sidecar, scored.path, scored.images):
            progress.note(
                f"{scored.path}: is the list that the network was trained on, where its scores are better than on "
                "other images"
            )
        return Evaluation.of(
            self.checkpoint.prefix,
            self.checkpoint.epoch,
            self.label_names,
            scored,
            thresholds,
            single_label=self.single_label,
            progress=progress,
        )

    def score_list(
        self,
        data: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        skip_bad: bool = False,
        allow_absolute: bool = False,
        tta: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> ScoredList:
        """Read a list and score its images.

        Parameters
        ----------
        data, root, batch_size, threads, skip_bad, allow_absolute, tta, progress
            As for ``evaluate``.

        Returns
        -------
        ScoredList
            The list's path, its images with their labels, and their ``Scores``.

        Raises
        ------
        ListError, ImageError, SettingError, CheckpointError, ModelError, DeviceError
            As for ``evaluate``.
        """
        _check_counts(batch_size, 0, threads)
        path, images, tolerated = read_evaluated_list(
            self.checkpoint, data, root, self.num_classes, self.single_label, allow_absolute, progress
        )
        skips = skip_bad or tolerated > 0
        scores = self.scores(images, batch_size=batch_size, skip_bad=skips, threads=threads, tta=tta, progress=progress)
        if not skip_bad:
            require_tolerable(scores.bad, len(images), tolerated)
        if not scores.readable.any():
            raise MxmlError(f"{path}: none of its images can be read")
        return ScoredList(path, images, scores)

    def tune(
        self,
        data: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        *,
        objective: str = DEFAULT_OBJECTIVE,
        calibrate: str | None = None,
        min_support: int = MIN_SUPPORT,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        skip_bad: bool = False,
        allow_absolute: bool = False,
        progress: Progress = SILENT,
    ) -> TuningResult:
        """Choose one threshold per label on a list of held-out images; nothing is written or changed.

        Parameters
        ----------
        data, root, batch_size, threads, skip_bad, allow_absolute, progress
            As for ``evaluate``. The network should not have been trained on the list.
        objective : str, default "f1"
            ``f1``, ``f-beta=2`` (or another beta), ``precision=0.9`` (the highest recall with at least that precision)
            or ``recall=0.95`` (the highest precision with at least that recall).
        calibrate : {"temperature", "platt"}, optional
            Calibrate the logits first: see ``mxml.evaluation.calibration``.
        min_support : int, default 10
            A label with fewer known present or absent images takes the threshold that is best for all labels together.

        Returns
        -------
        TuningResult
            Thresholds and calibration, metrics before and after, and what they gain on images that they were not
            chosen on. ``save_tuning`` keeps it.

        Raises
        ------
        SettingError
            If an argument is not valid, or the network is one of single labels, which has no thresholds.
        MxmlError
            If the list has too few images; else as ``evaluate``.
        """
        return tune(
            self,
            data,
            root,
            objective=objective,
            calibrate=calibrate,
            min_support=min_support,
            progress=progress,
            batch_size=batch_size,
            threads=threads,
            skip_bad=skip_bad,
            allow_absolute=allow_absolute,
        )

    def save_tuning(self, result: TuningResult, progress: Progress = SILENT) -> TuningRecord | None:
        """Write a tuning into the checkpoint's sidecar, and use it from now on.

        Parameters
        ----------
        result : TuningResult
            What ``tune`` has returned for this checkpoint and epoch.
        progress : Progress, optional
            Receives notes.

        Returns
        -------
        TuningRecord or None
            The tuning that was there before.

        Raises
        ------
        CheckpointError
            If there is no sidecar, or the epoch's parameters are no longer those that were tuned.
        TrainingError
            If a run is at work on the prefix.
        StorageError
            If it cannot be written.
        """
        replaced = save_tuning(self.checkpoint.prefix, result.record(), progress)
        self.thresholds = result.tuning.thresholds.copy()
        self.calibration = result.tuning.calibration
        return replaced

    def scores(
        self,
        images: ImageList | RecordList,
        *,
        batch_size: int = BATCH_SIZE,
        skip_bad: bool = False,
        threads: int | None = None,
        tta: Sequence[str] = (),
        progress: Progress = SILENT,
    ) -> Scores:
        """Score every image of a list, in its order.

        Parameters
        ----------
        images : ImageList
            N images.
        batch_size, skip_bad, threads, tta, progress
            As for ``evaluate``.

        Returns
        -------
        Scores
            ``probabilities`` and ``logits`` (N, C) float32, and ``bad``, the images that could not be read, whose rows
            hold NaN.

        Raises
        ------
        ImageError
            If an image cannot be read, unless ``skip_bad``.
        ModelError, DeviceError
            As for ``predict``.
        """
        _check_counts(batch_size, 0, threads)
        if not len(images):
            raise MxmlError("there are no images to score")
        views = Views.of(self.preprocess, tta)
        views.check(self.checkpoint)
        batch_size = min(batch_size, len(images))
        found = []
        for number, preprocess in enumerate(views.preprocesses):
            (backend,) = self._backends(replace(views, preprocesses=(preprocess,)), batch_size)
            progress.start(
                len(images), "evaluating" if number == 0 else f"evaluating, {preprocess.size[0]} pixels high"
            )
            batches = Batches(
                image_source(images),
                preprocess,
                batch_size,
                bad_images="report" if skip_bad else "error",
                threads=threads,
            )
            with memory_checked(batch_size), batches:
                try:
                    found.append(collect(backend, batches, len(images), self.num_classes, progress.advance))
                except ImageError as error:
                    remedy = "`skip_bad` skips such images"
                    if error.kind == "missing":
                        remedy += ", and `root` says which folder they are under"
                    raise ImageError(f"{error.reason}; {remedy}", error.path, error.kind) from error
        logits = np.mean([scores.logits for scores in found], axis=0)
        return Scores(probabilities(logits, self.single_label), logits, found[0].bad)

    def _validation_images(self, progress: Progress) -> ImageList | RecordList:
        wanted = "images, folders or patterns"
        own = validation_list(self.checkpoint, "inputs", wanted, f"name {wanted}", progress)
        return read_images(own.path, own.root, self.num_classes)[0]

    def _backends(self, views: Views, count: int) -> list[Backend]:
        """Return what computes each view of ``count`` images."""
        found = [self._bound.backend(preprocess, count) for preprocess in views.preprocesses]
        if self.calibration is not None:
            found = [CalibratedBackend(backend, self.calibration) for backend in found]
        return [Mirrored(backend) for backend in found] if views.flip else found

    def _bind_mxnet(self, preprocess: Preprocess, batch_size: int) -> Backend:
        model = self.checkpoint
        try:
            return MxnetBackend(
                model.symbol, model.arg_params, model.aux_params, self._devices, preprocess.data_shape, batch_size
            )
        except ModelError as error:
            path = RunFiles(model.prefix).params(model.epoch)
            raise CheckpointError(f"{path}: does not fit its symbol: {error}") from error


def _check_counts(batch_size: int, top_k: int, threads: int | None) -> None:
    if not _is_whole(batch_size) or not 1 <= batch_size <= MOST_BATCH_SIZE:
        raise SettingError("batch_size", batch_size, f"a whole number from 1 to {MOST_BATCH_SIZE}")
    if not _is_whole(top_k) or top_k < 0:
        raise SettingError("top_k", top_k, "a whole number, 0 or more; 0 is for every label over its threshold")
    if threads is not None and (not _is_whole(threads) or not 1 <= threads <= MOST_THREADS):
        raise SettingError("threads", threads, f"a whole number from 1 to {MOST_THREADS}")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _memory_checked(batches: Iterator[StreamBatch], batch_size: int) -> Iterator[StreamBatch]:
    with memory_checked(batch_size):
        yield from batches
