"""``Batches``: what networks are trained and run on, from any source of images."""

from __future__ import annotations

import numpy as np

from mxml.data.batch_iterator import LAST_BATCHES, BadImage, BatchIterator, Loading, require, too_many_bad
from mxml.data.image_cache import ImageCache
from mxml.data.image_sources import ImageSource
from mxml.data.label_mixing import COLUMNS, Mixing, drawn_pairs, mix_pairs
from mxml.data.row_loader import TransformLoader
from mxml.data.sampling import BatchRows, RowsSampler, Sampler
from mxml.errors import ImageError, MxmlError
from mxml.images.decode import Limits
from mxml.images.network_input import Transform
from mxml.images.transforms import Augment, Preprocess
from mxml.runtime.imports import load_mxnet

__all__ = ["BadImage", "Batches", "too_many_bad"]

mx = load_mxnet()


class Batches(BatchIterator):
    """Iterate over batches of images, decoded by threads ahead of their use; an ``mx.io.DataIter``.

    A batch is an ``mx.io.DataBatch``: ``data`` is (batch_size, 3, height, width) float32, ``label`` is
    (batch_size, C) float32, ``pad`` is the number of rows at its end that only fill it up, and ``index`` is each row's
    position in the source, (batch_size,) int64. It never changes once it is returned. Rows that are to count for
    nothing, because they fill a batch up or their image cannot be read, have only labels of -1.

    Shuffling and augmentation depend on ``seed``, the epoch and an image's position only, not on threads or workers.

    Parameters
    ----------
    source : ImageSource
        The images, such as ``ImageFiles``.
    preprocess : Preprocess
        How an image becomes network input.
    batch_size : int
        Rows per batch.
    labels : numpy.ndarray, optional
        Labels of shape (N, C), one row for each image of the source: 1, 0, or -1 where it is not known. Without them
        batches have no labels.
    augment : Augment, optional
        How images are varied.
    mixing : Mixing, optional
        How rows are mixed with each other, which makes labels soft: anything from 0 to 1.
    shuffle : bool
        Visit the images of every epoch in another order.
    seed : int
        Seed of all random numbers.
    part_index, num_parts : int
        Which of how many workers this is. Each visits its share of the epoch's common order.
    split_batches : bool
        Share out the rows of every batch instead: the workers' rows together are the batch of ``num_parts`` times
        ``batch_size`` rows that one process would have. Rows are mixed as in that batch; for this a worker also loads
        the images of other workers' rows that are mixed into its own.
    last_batch : str
        What happens to images that do not fill an epoch's last batch: ``pad`` fills it with images of the epoch's
        beginning, ``discard`` leaves them out, ``roll_over`` gives them to the next epoch.
    threads : int, optional
        How many threads decode; by default one for each physical core.
    prefetch : int
        How many batches are prepared ahead of the one that is asked for.
    bad_images : str
        What an unreadable image does: ``skip`` shows another image of the batch in its row, ``error`` raises its
        ImageError, ``report`` leaves zeros. ``bad`` lists these images.
    max_bad_share : float
        With ``skip``, which share of the images may be unreadable, from 0 to 1.
    cache_bytes : int
        How much memory decoded images may take for later epochs.
    limits : Limits, optional
        How large single images may be.
    data_name, label_name : str
        Names of the network's inputs.

    Raises
    ------
    SettingError
        For a setting out of range.
    MxmlError
        For a source without images, or with too few for one batch.
    """

    def __init__(
        self,
        source: ImageSource,
        preprocess: Preprocess,
        batch_size: int,
        *,
        labels: np.ndarray | None = None,
        augment: Augment | None = None,
        mixing: Mixing | None = None,
        shuffle: bool = False,
        seed: int = 0,
        part_index: int = 0,
        num_parts: int = 1,
        split_batches: bool = False,
        last_batch: str = "pad",
        threads: int | None = None,
        prefetch: int = 2,
        bad_images: str = "skip",
        max_bad_share: float = 0.05,
        cache_bytes: int = 0,
        limits: Limits | None = None,
        data_name: str = "data",
        label_name: str = "softmax_label",
    ):
        require("last_batch", last_batch, last_batch in LAST_BATCHES, "pad, discard or roll_over")
        count = len(source)
        if not count:
            raise MxmlError("there are no images to make batches of")
        if labels is not None and (labels.ndim != 2 or len(labels) != count):
            raise ValueError(f"labels have the shape {labels.shape}, should be ({count}, number of labels)")
        provide_label = []
        if labels is not None:
            provide_label.append(mx.io.DataDesc(label_name, (batch_size, labels.shape[1]), np.float32))
        if mixing and labels is None:
            raise ValueError("rows are mixed together with their labels, and there are none")
        self._label_table = labels
        self._mixing = mixing or Mixing()
        transform = Transform(preprocess, augment)
        super().__init__(
            count,
            TransformLoader(source, transform, limits or Limits(), ImageCache(cache_bytes)),
            (RowsSampler if split_batches else Sampler)(
                count,
                batch_size,
                shuffle=shuffle,
                seed=seed,
                part_index=part_index,
                num_parts=num_parts,
                last_batch=last_batch,
            ),
            mx.io.DataDesc(data_name, (batch_size, *preprocess.data_shape), np.float32),
            provide_label,
            Loading(threads, prefetch, bad_images, max_bad_share),
            spare_rows=batch_size if mixing and split_batches and num_parts > 1 else 0,
        )

    def _labels(self, rows: BatchRows, faults: dict[int, ImageError], shown: np.ndarray) -> list[np.ndarray]:
        if self._label_table is None:
            return []
        labels = self._label_table[rows.positions[: self.batch_size]].astype(np.float32)
        for row in faults:
            labels[row :: rows.distinct] = -1
        if rows.pad:
            labels[-rows.pad :] = -1
        return [labels]

    def _rows(self, batch: int) -> BatchRows:
        rows = super()._rows(batch)
        if self._label_table is None or not self._mixing:
            return rows
        common, first = self._sampler.common(self._epoch, batch)
        known = (self._label_table[common.positions] >= 0).any(axis=1)
        known[len(known) - common.pad :] = False
        own = range(first, first + self.batch_size)
        pairs: list[tuple[int, int]] = []
        partners: list[int] = []
        for one, other in drawn_pairs(known, self._draws(common)):
            if one in own or other in own:
                beyond = self.batch_size + len(partners)
                pairs.append((one - first if one in own else beyond, other - first if other in own else beyond))
                partners += [row for row in (one, other) if row not in own]
        return rows._replace(
            positions=np.concatenate([rows.positions, common.positions[partners]]),
            epochs=np.concatenate([rows.epochs, common.epochs[partners]]),
            pairs=tuple(pairs),
        )

    def _mix(self, rows: BatchRows, data: np.ndarray, labels: list[np.ndarray], faults: dict[int, ImageError]) -> None:
        if self._label_table is None or not self._mixing:
            return
        partners = self._label_table[rows.positions[self.batch_size :]].astype(np.float32)
        mixed = np.concatenate([labels[0], partners])
        pairs = [pair for pair in rows.pairs if faults.keys().isdisjoint(pair)]
        mix_pairs(self._mixing, data, mixed, self._draws(rows), pairs)
        labels[0][:] = mixed[: self.batch_size]

    def _draws(self, rows: BatchRows) -> np.ndarray:
        return self._sampler.draws(rows, COLUMNS, first=Transform.COLUMNS)
