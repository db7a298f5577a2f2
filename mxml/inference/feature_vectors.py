"""Feature vectors of the images of a list: those that the cache knows, and the network's output for the others."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from mxml.data.batches import BadImage, Batches
from mxml.data.image_sources import ChosenImages, ImageSource
from mxml.errors import ImageError, ModelError, SettingError
from mxml.images.decode import Limits
from mxml.images.transforms import Preprocess
from mxml.inference.feature_cache import FeatureCache
from mxml.inference.mxnet_backend import BoundNetwork
from mxml.model.graph import to_document
from mxml.model.layers import Network
from mxml.model.precision import lower_precision, mostly_lowered
from mxml.progress import Progress
from mxml.runtime.amx import uses_amx
from mxml.runtime.dtypes import BFLOAT16
from mxml.runtime.imports import load_mxnet
from mxml.runtime.threads import physical_cores
from mxml.runtime.types import Context, NDArray, Symbol

mx = load_mxnet()

LARGER = 1.25
# Raised whenever another version of mxml computes other vectors from the same image and settings.
_REVISION = 1
# Files that are waiting to be read: each takes some memory.
_BLOCK = 10_000
VIEWS = ("plain", "mirror", "larger")


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """The part of a network that gives feature vectors: ``symbol`` with one output (N, D), and its parameters."""

    symbol: Symbol
    arg_params: Mapping[str, NDArray]
    aux_params: Mapping[str, NDArray]

    def on(self, devices: Sequence[Context]) -> FeatureNetwork:
        """Return the network as it is fastest on these devices: in bfloat16 where they have AMX for it.

        The vectors differ by some thousandths of their size.
        """
        on_cpus = all(device.device_type == "cpu" for device in devices)
        if not (on_cpus and uses_amx() and mostly_lowered(self.symbol)):
            return self
        return replace(self, symbol=lower_precision(self.symbol, BFLOAT16))

    def size_of(self, views: Sequence[str], preprocess: Preprocess) -> int:
        """Return D. Raises SettingError for a view that the network cannot take, or gives another D for."""
        size = self._size(preprocess.data_shape)
        for view in views:
            data_shape = as_shown(preprocess, view).data_shape
            try:
                Network(self.symbol, data_shape)
                fits = self._size(data_shape) == size
            except (ModelError, mx.base.MXNetError):
                fits = False
            if not fits:
                height, width = preprocess.size
                wanted = f"mirror or nothing: the features of this network need images of {height}x{width}"
                raise SettingError("feature_copies", view, wanted)
        return size

    def _size(self, data_shape: tuple[int, ...]) -> int:
        held = {**self.arg_params, **self.aux_params}
        names = (*self.symbol.list_arguments(), *self.symbol.list_auxiliary_states())
        # Without these, a layer that has weights for one size of images would seem to take every size.
        shapes = {name: held[name].shape for name in names if name in held}
        _, (shape,), _ = self.symbol.infer_shape_partial(data=(1, *data_shape), **shapes)
        # A fully connected layer may read a map as it is.
        return math.prod(shape[1:])

    def digest(self) -> bytes:
        """Return a digest of everything that decides on the output for an input."""
        # Names are not part of it: MXNet numbers them as a process goes along.
        document = to_document(self.symbol)
        digest = hashlib.sha256(json.dumps([_REVISION, mx.__version__, document["heads"]]).encode())
        for node in document["nodes"]:
            digest.update(json.dumps([node["op"], node.get("attrs", {}), node["inputs"]], sort_keys=True).encode())
            array = self.arg_params.get(node["name"], self.aux_params.get(node["name"]))
            if node["op"] == "null" and array is not None:
                digest.update(np.ascontiguousarray(array.asnumpy()).tobytes())
        return digest.digest()


@dataclass(frozen=True, eq=False)
class Vectors:
    """``views`` is (V, N, D) float32: the features of N images, plain and then as the other views show them.

    The rows of the images in ``bad``, which could not be read, hold zeros. ``computed`` counts the images that were
    not in the cache.
    """

    views: np.ndarray
    bad: tuple[BadImage, ...]
    computed: int

    @property
    def plain(self) -> np.ndarray:
        """Return (N, D): the images as they are."""
        view: np.ndarray = self.views[0]
        return view

    @property
    def readable(self) -> np.ndarray:
        """Return (N,) bool: False where the image could not be read."""
        readable = np.ones(self.views.shape[1], bool)
        readable[[image.position for image in self.bad]] = False
        return readable


class FeatureExtractor:
    """Gives the feature vectors of images, from the cache where it has them.

    It binds the network when the first image has to be computed. ``views`` begin with ``plain``; ``after_batch`` is
    called whenever some vectors are on disk.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        preprocess: Preprocess,
        devices: Sequence[Context],
        cache: FeatureCache,
        *,
        batch_size: int,
        threads: int | None,
        progress: Progress,
        views: Sequence[str] = ("plain",),
        after_batch: Callable[[], None] = lambda: None,
    ):
        self._network = network
        self._preprocess = preprocess
        self._devices = devices
        self._cache = cache
        self._batch_size = batch_size
        self._threads = threads
        self._progress = progress
        self._after_batch = after_batch
        self._views = tuple(views)
        self._bound: dict[tuple[int, ...], BoundNetwork] = {}
        self.size: int = network.size_of(self._views, preprocess)
        self._digest = network.digest()
        kinds = {device.device_type for device in devices}
        # GPUs may compute with fewer bits. Earlier versions named no kind, and what they kept for CPUs is still found.
        if kinds != {"cpu"}:
            self._digest += json.dumps(sorted(kinds)).encode()

    def vectors(self, images: ImageSource, what: str) -> Vectors:
        """Return the vectors of the images of a list; ``what`` is what the progress calls them."""
        names, bad = self._names(images)
        found, known = self._kept(names)
        readable = np.array([name is not None for name in names])
        missing = readable & ~known.all(axis=0)
        for first, view in enumerate(self._views):
            if view == "mirror":
                continue  # it comes with the view that is decoded the same
            here = np.flatnonzero(readable & ~known[self._together(first)].all(axis=0))
            self._progress.start(len(images), what if first == 0 else f"{what}, {view}", len(images) - len(here))
            self._compute(images, first, here, names, found, bad)
        found[:, list(bad)] = 0
        return Vectors(found, tuple(bad[position] for position in sorted(bad)), int(missing.sum()))

    def digest(self) -> bytes:
        """Return a digest of everything but the images that decides on vectors."""
        return hashlib.sha256(b"".join(map(self._source, self._views))).digest()

    def _names(self, images: ImageSource) -> tuple[list[bytes | None], dict[int, BadImage]]:
        """Return a digest of each file's content, None for those that cannot be read, which are named by position."""
        return digests(images, self._threads)

    def _kept(self, names: Sequence[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors (V, N, D) that the cache has, and which (V, N) those are."""
        found = np.zeros((len(self._views), len(names), self.size), np.float32)
        known = np.zeros((len(self._views), len(names)), bool)
        for number, view in enumerate(self._views):
            cached = self._cache.get(self._source(view), [name for name in names if name is not None], self.size)
            for position, name in enumerate(names):
                if name is not None and name in cached:
                    found[number, position] = cached[name]
                    known[number, position] = True
        return found, known

    def _together(self, first: int) -> list[int]:
        """Return the views that are computed from the same decoded images as the view number ``first``."""
        mirrored = [number for number, view in enumerate(self._views) if view == "mirror"]
        return [first, *mirrored] if self._views[first] == "plain" else [first]

    def _compute(
        self,
        images: ImageSource,
        first: int,
        positions: np.ndarray,
        names: Sequence[bytes | None],
        found: np.ndarray,
        bad: dict[int, BadImage],
    ) -> None:
        """Fill in the vectors of the images at ``positions`` as a view shows them, and those that go with it."""
        if not len(positions):
            return
        preprocess = as_shown(self._preprocess, self._views[first])
        source = ChosenImages(images, positions)
        bound = self._bind(preprocess)
        with Batches(source, preprocess, self._batch_size, bad_images="report", threads=self._threads) as batches:
            for batch in batches:
                rows = batch.index[: len(batch.index) - batch.pad]
                here = positions[rows]
                unreadable = {image.position for image in batches.bad}
                good = np.array([row not in unreadable for row in rows.tolist()])
                for number in self._together(first):
                    data = batch.data[0]
                    if self._views[number] == "mirror":
                        data = mx.nd.flip(data, axis=3)
                    output = bound.output(data)[: len(rows)].reshape(len(rows), self.size)
                    found[number, here[good]] = output[good]
                    self._cache.put(
                        self._source(self._views[number]),
                        {names[at]: vector for at, vector in zip(here[good].tolist(), output[good])},
                    )
                self._progress.advance(len(rows))
                self._after_batch()
            for image in batches.bad:
                position = int(positions[image.position])
                bad[position] = BadImage(position, image.path, image.reason)

    def _bind(self, preprocess: Preprocess) -> BoundNetwork:
        if preprocess.data_shape not in self._bound:
            network = self._network
            self._bound[preprocess.data_shape] = BoundNetwork(
                network.symbol,
                network.arg_params,
                network.aux_params,
                self._devices,
                preprocess.data_shape,
                self._batch_size,
            )
        return self._bound[preprocess.data_shape]

    def _source(self, view: str) -> bytes:
        preprocess = json.dumps(as_shown(self._preprocess, view).to_dict(), sort_keys=True)
        return hashlib.sha256(self._digest + f"{preprocess} {view == 'mirror'}".encode()).digest()


def as_shown(preprocess: Preprocess, view: str) -> Preprocess:
    """Return the preprocessing that a view shows images with."""
    if view != "larger":
        return preprocess
    height, width = (round(side * LARGER) for side in preprocess.size)
    short = preprocess.short_side
    return replace(preprocess, size=(height, width), short_side=short and round(short * LARGER))


def contents_digest(images: ImageSource, threads: int | None) -> bytes:
    """Return a digest of the images' contents, in their order."""
    unread = bytes(hashlib.sha256().digest_size)
    names, _ = digests(images, threads)
    return hashlib.sha256(b"".join(unread if name is None else name for name in names)).digest()


def digests(images: ImageSource, threads: int | None) -> tuple[list[bytes | None], dict[int, BadImage]]:
    """Return a digest of each file's content, None for those that cannot be read, which are named by position."""
    limits = Limits()
    bad: dict[int, BadImage] = {}

    def digest(position: int) -> bytes | None:
        try:
            content = images.read(position, limits)
            return hashlib.sha256(content.tobytes() if isinstance(content, np.ndarray) else content).digest()
        except ImageError as error:
            bad[position] = BadImage(position, error.path, error.reason)
            return None

    found: list[bytes | None] = []
    with ThreadPoolExecutor(threads or physical_cores()) as pool:
        for start in range(0, len(images), _BLOCK):
            found += pool.map(digest, range(start, min(start + _BLOCK, len(images))))
    return found, bad
