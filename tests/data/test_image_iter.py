from __future__ import annotations

import inspect
import random
from typing import Any

import numpy as np
import pytest

from mxml.data.image_iter import ImageIter, mx
from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst, write_lst
from mxml.data.record_file import pack_image
from mxml.data.row_loader import TransformLoader
from mxml.errors import ListError, MxmlError
from mxml.images.decode import load
from mxml.images.network_input import Transform
from mxml.images.transforms import Augment, Preprocess, preset
from mxml.runtime.imports import load_cv2

cv2 = load_cv2()
COUNT, SIDE = 23, 24
SMALL = Preprocess((SIDE, SIDE), SIDE)
VARIED = Augment(rand_crop=True, rand_mirror=True, brightness=0.2, contrast=0.2, saturation=0.2)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageList:
    """23 small JPEGs with three labels each; the labels of image i are its last three bits."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    names = []
    for i in range(COUNT):
        picture = cv2.resize(random.integers(0, 256, (4, 6, 3)).astype(np.uint8), (30 + i, 40))
        names.append(f"{i}.jpg")
        cv2.imwrite(str(folder / names[-1]), picture)
    labels = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(COUNT)])
    return ImageList.from_rows(names, labels, str(folder))


def with_bad(images: ImageList, *bad: int) -> ImageList:
    names = [f"missing-{i}.jpg" if i in bad else name for i, name in enumerate(images.names())]
    return ImageList.from_rows(names, images.labels, images.root)


def test_descriptions_equal_mxnets(images, tmp_path):
    write_lst(tmp_path / "three.lst", images)
    single = ImageList.from_rows(images.names(), images.labels[:, :1], images.root)
    write_lst(tmp_path / "one.lst", single)
    arguments = {"path_root": images.root, "resize": SIDE, "rand_mirror": True, "mean": True, "std": True}
    for name, more in (
        ("three.lst", {"label_width": 3}),
        ("one.lst", {"label_width": 1}),
        ("one.lst", {"data_name": "x", "label_name": "y"}),
    ):
        ours = ImageIter(4, (3, SIDE, SIDE), path_imglist=str(tmp_path / name), **arguments, **more)
        theirs = mx.image.ImageIter(4, (3, SIDE, SIDE), path_imglist=str(tmp_path / name), **arguments, **more)
        assert ours.provide_data == theirs.provide_data
        assert ours.provide_label == theirs.provide_label
        mine, its = ours.next(), theirs.next()
        assert mine.data[0].shape == its.data[0].shape and mine.data[0].dtype == its.data[0].dtype
        assert mine.label[0].shape == its.label[0].shape
        assert np.array_equal(mine.label[0].asnumpy(), its.label[0].asnumpy())
        ours.close()
    with ImageIter(
        4, (3, SIDE, SIDE), path_imglist=str(tmp_path / "one.lst"), path_root=images.root, dtype="int32"
    ) as batches:
        assert batches.next().label[0].dtype == batches.provide_label[0].dtype == np.int32


def test_batches_equal_mxnets_on_photographs(shared):
    folder = shared / "data" / "miml-scene"
    photographs = read_lst(folder / "val.lst", folder / "images").select(range(24))
    rows = [[*map(float, photographs.labels[i]), photographs.name(i)] for i in range(24)]
    arguments: dict[str, Any] = {"imglist": rows, "path_root": str(folder / "images"), "label_width": 5}
    arguments.update(resize=200, mean=True, std=np.array([50.0, 60.0, 70.0]))
    theirs = mx.image.ImageIter(8, (3, 200, 200), **arguments)
    with ImageIter(8, (3, 200, 200), **arguments) as ours:
        for mine, its in zip(ours, theirs):
            assert np.array_equal(mine.label[0].asnumpy(), its.label[0].asnumpy())
            levels = np.abs(mine.data[0].asnumpy() - its.data[0].asnumpy()).mean(axis=(1, 2, 3)) * 60
            small = [min(load(photographs.path(i)).shape[:2]) < 400 for i in mine.index]
            # Larger ones are averaged down first, which MXNet does not do.
            assert levels[small].max() < 0.1 and levels.max() < 10 and sum(small) > 2


@pytest.mark.parametrize("loss", ["SoftmaxOutput", "LogisticRegressionOutput"])
def test_losses_that_know_no_mask_get_the_labels_of_the_images_shown(images, loss):
    """At parameters of zero, the bias's gradient is each row's p - y, summed: hand-worked from the images shown."""
    classes = 3 if loss == "SoftmaxOutput" else 2
    numbers = np.arange(COUNT) % 3
    labels = numbers[:, None] if loss == "SoftmaxOutput" else images.labels[:, :2]
    names = with_bad(images, 1, 20).names()
    rows = [[*map(float, labels[i]), name] for i, name in enumerate(names)]
    wanted = np.eye(3)[numbers] if loss == "SoftmaxOutput" else labels
    scale = 1 if loss == "SoftmaxOutput" else 1 / classes
    scores = mx.sym.FullyConnected(mx.sym.flatten(mx.sym.var("data")), num_hidden=classes, name="fc")
    symbol = getattr(mx.sym, loss)(scores, mx.sym.var("softmax_label"), name="out")
    with ImageIter(
        10, (3, SIDE, SIDE), labels.shape[1], imglist=rows, path_root=images.root, resize=SIDE, max_bad_share=0.1
    ) as batches:
        executor = symbol.simple_bind(mx.cpu(), **dict(batches.provide_data + batches.provide_label))
        for parameter in ("fc_weight", "fc_bias"):
            executor.arg_dict[parameter][:] = 0
        got = []
        for batch in batches:
            executor.forward(is_train=True, data=batch.data[0], softmax_label=batch.label[0])
            executor.backward()
            got.append(executor.grad_dict["fc_bias"].asnumpy())
        assert batch.pad == 7
    for gradient, shown in zip(got, [[0, 2, *range(2, 10)], [*range(10, 20)], [21, 21, 22, 0, 2, 2, 3, 4, 5, 6]]):
        expected = (1 / classes - wanted[shown]).sum(axis=0) * scale
        np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_padded_rows_have_the_labels_that_mxnet_gives_them(images):
    rows = [[*map(float, images.labels[i]), name] for i, name in enumerate(images.names())]
    arguments: dict[str, Any] = {"imglist": rows, "path_root": images.root, "label_width": 3, "resize": SIDE}
    theirs = mx.image.ImageIter(10, (3, SIDE, SIDE), **arguments)
    with ImageIter(10, (3, SIDE, SIDE), **arguments) as ours:
        for mine, its in zip(ours, theirs):
            assert mine.pad == its.pad
            assert np.array_equal(mine.label[0].asnumpy(), its.label[0].asnumpy())
    assert mine.pad == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"last_batch_handle": "wrap"}, "`last_batch_handle` wrap: should be pad, discard, roll_over"),
        ({"inter_method": 5}, "`inter_method` 5: should be 0 to 4, 9 or 10"),
        ({"dtype": "float16"}, "`dtype` float16"),
        ({"batch_size": 0}, "`batch_size` 0"),
        ({"part_index": 2, "num_parts": 2}, "`part_index` 2"),
        ({"bad_images": "ignore"}, "`bad_images` ignore"),
        ({"rand_resize": True}, "`rand_resize` needs `rand_crop`"),
        ({"data_shape": (1, 8, 8)}, "`data_shape` 1,8,8"),
        ({"mean": np.array([1.0, 2.0])}, "mean"),
        ({"brightness": 3}, "brightness"),
        ({"label_width": 4}, "`label_width` 4: should be 3, as many"),
        ({"path_imglist": "a.lst"}, "one of `path_imgrec`, `path_imglist` and `imglist`"),
        ({"batch_size": 100, "last_batch_handle": "discard"}, "no full batch of 100"),
    ],
)
def test_wrong_arguments_are_explained(images, arguments, message):
    rows = [[*map(float, images.labels[i]), images.name(i)] for i in range(COUNT)]
    with pytest.raises(MxmlError, match=message):
        ImageIter(**{"batch_size": 4, "data_shape": (3, 8, 8), "imglist": rows, **arguments})


def write_records(folder, images: ImageList) -> tuple[str, str]:
    """Pack the images as im2rec does; return the paths of the record and the index file."""
    rec, idx = str(folder / "x.rec"), str(folder / "x.idx")
    writer = mx.recordio.MXIndexedRecordIO(idx, rec, "w")
    for i, number in enumerate(images.index.tolist()):
        with open(images.path(i), "rb") as file:
            writer.write_idx(number, pack_image(number, images.labels[i], file.read()))
    writer.close()
    return rec, idx


def pairs(arguments, epochs, seed=4):
    """Yield MXNet's batch and ours, epoch after epoch; assert that there are as many."""
    theirs = mx.image.ImageIter(**arguments)
    with ImageIter(**arguments, bad_images="error") as ours:
        for _ in range(epochs):
            random.seed(seed)
            its = [(batch.data[0].asnumpy(), batch.label[0].asnumpy(), batch.pad) for batch in theirs]
            random.seed(seed)
            mine = list(ours)
            assert len(mine) == len(its)
            yield from zip(mine, its)
            theirs.reset()
            ours.reset()


@pytest.fixture(scope="module")
def stills(tmp_path_factory) -> ImageList:
    """13 PNGs, which every decoder decodes alike, with three labels each and indices that are not in order."""
    folder = tmp_path_factory.mktemp("stills")
    generator = np.random.default_rng(2)
    names = [f"{i}.png" for i in range(13)]
    for i, name in enumerate(names):
        picture = cv2.resize(generator.integers(0, 256, (4, 6, 3)).astype(np.uint8), (30 + i, 28 + 2 * i))
        cv2.imwrite(str(folder / name), picture)
    labels = generator.integers(0, 2, (13, 3))
    return ImageList.from_rows(names, labels, str(folder), index=[(5 * i + 2) % 13 for i in range(13)])


@pytest.mark.parametrize("handle", ["pad", "discard", "roll_over"])
@pytest.mark.parametrize("kind", ["list", "records", "indexed", "labelled by the list"])
def test_batches_equal_mxnets(stills, tmp_path, kind, handle):
    """Labels, order, padding and what rolls over are the same in every epoch, and the pixels are but for rounding."""
    write_lst(tmp_path / "x.lst", stills)
    rec, idx = write_records(tmp_path, stills)
    arguments = {
        "list": {"path_imglist": str(tmp_path / "x.lst"), "path_root": stills.root},
        "records": {"path_imgrec": rec},
        "indexed": {"path_imgrec": rec, "path_imgidx": idx},
        "labelled by the list": {"path_imgrec": rec, "path_imgidx": idx, "path_imglist": str(tmp_path / "x.lst")},
    }[kind]
    arguments.update(batch_size=5, data_shape=(3, SIDE, SIDE), label_width=3, resize=SIDE, mean=True, std=True)
    count = 0
    for mine, (data, labels, pad) in pairs({**arguments, "last_batch_handle": handle}, 4):
        assert mine.pad == pad and np.array_equal(mine.label[0].asnumpy(), labels)
        assert np.abs(mine.data[0].asnumpy() - data).max() * 58 < 2.5
        count += 1
    assert count == {"pad": 12, "discard": 8, "roll_over": 2 + 3 + 2 + 3}[handle]


@pytest.mark.parametrize("kind", ["list", "records"])
def test_lists_of_augmenters_run_as_in_mxnet(stills, tmp_path, kind):
    """MXNet's augmenters, drawing the same random numbers, give the same pixels; so do plain functions among them."""
    write_lst(tmp_path / "x.lst", stills)
    rec, idx = write_records(tmp_path, stills)
    augmenters = mx.image.CreateAugmenter(
        (3, SIDE, SIDE),
        resize=26,
        rand_crop=True,
        rand_mirror=True,
        mean=True,
        std=True,
        brightness=0.2,
        inter_method=10,
    )
    arguments = {"path_imglist": str(tmp_path / "x.lst"), "path_root": stills.root}
    if kind == "records":
        arguments = {"path_imgrec": rec, "path_imgidx": idx}
    arguments.update(batch_size=4, data_shape=(3, SIDE, SIDE), label_width=3, last_batch_handle="discard")
    arguments["aug_list"] = [*augmenters, lambda image: image * 2]
    batches = list(pairs(arguments, 2))
    assert len(batches) == 6
    for mine, (data, labels, _) in batches:
        assert np.array_equal(mine.label[0].asnumpy(), labels)
        np.testing.assert_allclose(mine.data[0].asnumpy(), data, atol=1e-5)


def test_augmenters_and_bad_images(stills, tmp_path):
    rows = [[*map(float, stills.labels[i]), stills.name(i)] for i in range(13)]
    rows[1][-1] = "none.png"
    arguments: dict[str, Any] = {
        "imglist": rows,
        "path_root": stills.root,
        "aug_list": [mx.image.ForceResizeAug((SIDE, SIDE))],
    }
    with ImageIter(4, (3, SIDE, SIDE), max_bad_share=0.1, cache_bytes=1 << 20, **arguments) as batches:
        first = batches.next()
        data = first.data[0].asnumpy()
        assert np.array_equal(data[1], data[2]) and np.array_equal(first.label[0].asnumpy()[1], stills.labels[2])
        wanted = mx.image.imresize(mx.image.imread(stills.path(0)), SIDE, SIDE, 2).asnumpy().transpose(2, 0, 1)
        assert np.array_equal(data[0], wanted)
        assert [bad.position for bad in batches.bad] == [1]
        batches.set_epoch(0)
        assert np.array_equal(batches.next().data[0].asnumpy(), data)
    with (
        ImageIter(4, (3, SIDE, 8), max_bad_share=0.1, **arguments) as batches,
        pytest.raises(MxmlError, match=r"`aug_list` makes images of \(24, 24, 3\), should make \(24, 8, 3\)"),
    ):
        batches.next()


@pytest.mark.parametrize("method", [0, 1, 2, 3, 4, 9])
def test_every_way_of_resizing_is_mxnets(stills, method):
    """One list to shrink, one to enlarge; the largest difference is one of rounding."""
    rows = [[*map(float, stills.labels[i]), stills.name(i)] for i in range(12)]
    for side in (24, 70):
        arguments = {"batch_size": 12, "data_shape": (3, side, side), "label_width": 3, "imglist": rows}
        arguments.update(path_root=stills.root, resize=side, inter_method=method)
        [(mine, (data, _, _))] = pairs(arguments, 1)
        assert np.abs(mine.data[0].asnumpy() - data).max() <= 4, side


def test_resizing_at_random_takes_every_way(stills):
    def batch(method, epoch=0):
        rows = [[0.0, stills.name(12)]] * 40
        with ImageIter(
            40, (3, 20, 20), imglist=rows, path_root=stills.root, resize=20, inter_method=method, seed=1
        ) as all_:
            all_.set_epoch(epoch)
            return all_.next().data[0].asnumpy()

    ways = [batch(method)[0] for method in range(5)]
    random_rows = batch(10)
    taken = [[np.array_equal(row, way) for way in ways].index(True) for row in random_rows]
    assert set(taken) == set(range(5))
    assert np.array_equal(batch(10), random_rows) and not np.array_equal(batch(10, epoch=1), random_rows)


def test_the_signature_begins_with_mxnets():
    theirs = list(inspect.signature(mx.image.ImageIter.__init__).parameters)[:-1]
    augmenting = [name for name in inspect.signature(mx.image.CreateAugmenter).parameters if name != "data_shape"]
    ours = inspect.signature(ImageIter.__init__).parameters
    positional = [name for name, parameter in ours.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert positional == theirs + augmenting
    assert not {"images", "preprocess", "augment"} & set(ours)


PROGRAM = """
import random
import mxnet as mx
from mxnet.image import ImageIter

random.seed(3)
mx.random.seed(3)
common = dict(batch_size=5, data_shape=(3, 24, 24), label_width=3)
if use_records:
    augmenters = mx.image.CreateAugmenter((3, 24, 24), resize=26, rand_crop=True, rand_mirror=True, mean=True, std=True)
    train = ImageIter(path_imgrec=rec, path_imgidx=idx, aug_list=augmenters, last_batch_handle="roll_over", **common)
else:
    train = ImageIter(path_imglist=lst, path_root=root, resize=24, mean=True, std=True, **common)
val = ImageIter(path_imglist=lst, path_root=root, resize=24, mean=True, std=True, **common)

net = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=4, kernel=(5, 5), stride=(3, 3), name="conv")
net = mx.sym.Flatten(mx.sym.Activation(net, act_type="relu"))
net = mx.sym.FullyConnected(net, num_hidden=3, name="fc")
net = mx.sym.LogisticRegressionOutput(net, mx.sym.Variable("softmax_label"), name="softmax")
module = mx.mod.Module(net, context=mx.cpu())
epochs = []
module.fit(
    train,
    eval_data=val,
    eval_metric="mse",
    optimizer="sgd",
    optimizer_params={"learning_rate": 0.01, "momentum": 0.9},
    initializer=mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2),
    num_epoch=3,
    epoch_end_callback=lambda epoch, *_: epochs.append(epoch),
)
parameters = {name: value.asnumpy() for name, value in module.get_params()[0].items()}
predictions = module.predict(val).asnumpy()
"""


@pytest.mark.parametrize("use_records", [False, True])
def test_a_program_goes_on_by_changing_one_import(stills, tmp_path, use_records):
    write_lst(tmp_path / "x.lst", stills)
    rec, idx = write_records(tmp_path, stills)
    given = {"rec": rec, "idx": idx, "lst": str(tmp_path / "x.lst"), "root": stills.root, "use_records": use_records}
    ended = []
    for line in ("from mxnet.image import ImageIter", "from mxml import ImageIter"):
        names = dict(given)
        exec(PROGRAM.replace("from mxnet.image import ImageIter", line), names)
        assert names["epochs"] == [0, 1, 2] and names["predictions"].shape == (13, 3)
        ended.append(names)
    theirs, ours = ended
    for name, value in theirs["parameters"].items():
        np.testing.assert_allclose(ours["parameters"][name], value, atol=0.01)
    np.testing.assert_allclose(ours["predictions"], theirs["predictions"], atol=0.05)
    assert ours["predictions"].std() > 0.15


def test_wrong_lists_are_explained(tmp_path):
    with pytest.raises(ListError, match="holds no images"):
        ImageIter(4, (3, 8, 8), imglist=[])
    with pytest.raises(ListError, match=r"row 1 \(b\.jpg\) has other labels"):
        ImageIter(4, (3, 8, 8), imglist=[[1, 0, "a.jpg"], [1, "b.jpg"]])
    misspelt: dict[str, Any] = {"shuffel": True}
    with pytest.raises(TypeError, match="shuffel"):
        ImageIter(4, (3, 8, 8), imglist=[[1, "b.jpg"]], **misspelt)


def test_all_of_create_augmenter_is_understood(images):
    rows = [[*map(float, images.labels[i]), images.name(i)] for i in range(COUNT)]
    with ImageIter(
        4,
        (3, SIDE, SIDE),
        imglist=rows,
        path_root=images.root,
        resize=SIDE,
        rand_crop=True,
        rand_resize=True,
        rand_mirror=True,
        mean=mx.nd.array([1, 2, 3]),
        std=np.array([2.0]),
        brightness=0.1,
        contrast=0.1,
        saturation=0.1,
        hue=0.1,
        pca_noise=0.1,
        rand_gray=0.1,
        inter_method=1,
    ) as batches:
        assert isinstance(batches._loader, TransformLoader)
        transform = batches._loader._transform
        assert isinstance(transform, Transform)
        assert transform.preprocess == Preprocess((SIDE, SIDE), SIDE, (1, 2, 3), (2, 2, 2), "rgb", "linear")
        assert transform.augment == Augment(True, 0.08, True, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
        assert np.isfinite(batches.next().data[0].asnumpy()).all()
    assert preset("original", SIDE).mean == (123.68, 116.28, 103.53)
