from __future__ import annotations

import numpy as np
import pytest

from mxml.data.image_iter import ImageIter, mx
from mxml.data.image_list import ImageList
from mxml.data.lst_file import read_lst, write_lst
from mxml.errors import ListError, MxmlError
from mxml.images.decode import load
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
    arguments = {"imglist": rows, "path_root": str(folder / "images"), "label_width": 5}
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
    arguments = {"imglist": rows, "path_root": images.root, "label_width": 3, "resize": SIDE}
    theirs = mx.image.ImageIter(10, (3, SIDE, SIDE), **arguments)
    with ImageIter(10, (3, SIDE, SIDE), **arguments) as ours:
        for mine, its in zip(ours, theirs):
            assert mine.pad == its.pad
            assert np.array_equal(mine.label[0].asnumpy(), its.label[0].asnumpy())
    assert mine.pad == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"last_batch_handle": "wrap"}, "`last_batch_handle` wrap: should be pad, discard or roll_over"),
        ({"dtype": "float16"}, "`dtype` float16"),
        ({"batch_size": 0}, "`batch_size` 0"),
        ({"part_index": 2, "num_parts": 2}, "`part_index` 2"),
        ({"bad_images": "ignore"}, "`bad_images` ignore"),
        ({"rand_resize": True}, "rand_resize needs rand_crop"),
        ({"data_shape": (1, 8, 8)}, "`data_shape` 1,8,8"),
        ({"mean": np.array([1.0, 2.0])}, "mean"),
        ({"brightness": 3}, "brightness"),
        ({"label_width": 4}, "label_width is 4, but the list has 3"),
        ({"path_imglist": "a.lst"}, "path_imglist or imglist"),
        ({"batch_size": 100, "last_batch_handle": "discard"}, "no full batch of 100"),
    ],
)
def test_wrong_arguments_are_explained(images, arguments, message):
    rows = [[*map(float, images.labels[i]), images.name(i)] for i in range(COUNT)]
    with pytest.raises(MxmlError, match=message):
        ImageIter(**{"batch_size": 4, "data_shape": (3, 8, 8), "imglist": rows, **arguments})


def test_wrong_lists_are_explained(tmp_path):
    with pytest.raises(ListError, match="holds no images"):
        ImageIter(4, (3, 8, 8), imglist=[])
    with pytest.raises(ListError, match=r"row 1 \(b\.jpg\) has other labels"):
        ImageIter(4, (3, 8, 8), imglist=[[1, 0, "a.jpg"], [1, "b.jpg"]])
    with pytest.raises(TypeError, match="shuffel"):
        ImageIter(4, (3, 8, 8), imglist=[[1, "b.jpg"]], shuffel=True)


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
        transform = batches._loader._transform
        assert transform.preprocess == Preprocess((SIDE, SIDE), SIDE, (1, 2, 3), (2, 2, 2), "rgb", "linear")
        assert transform.augment == Augment(True, 0.08, True, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
        assert np.isfinite(batches.next().data[0].asnumpy()).all()
    assert preset("original", SIDE).mean == (123.68, 116.28, 103.53)
