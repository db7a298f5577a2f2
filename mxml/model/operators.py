"""The operators that a symbol file may hold: how many inputs each has, and what its attributes may be.

MXNet believes a symbol file. Some operators read files, call addresses or run a part of the graph by positions that
the file gives; others divide by an attribute or count in 32 bits, and end the process for a value that no one would
write. So only the operators below are let through, those that image classifiers of MXNet 0.8 to 1.9 are made of, with
attributes inside the bounds given here. To allow another one, add a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Callable

from mxml.model.attributes import Bool, Choice, Float, Int, Kind, Label, Permutation, Tuple

MOST_OUTPUTS = 10_000
"""Most inputs or outputs that one operator may have."""


@dataclass(frozen=True)
class Operator:
    """An operator: its attributes, and from them its inputs.

    ``inputs`` counts them for the canonical attributes of a node. The last ``auxiliary`` of them may be missing in
    files from before MXNet 0.9. The last ``parameters`` have to be variables, since MXNet sets their shapes without a
    look at what is there. The tuples in ``alike``, where a node has them, are of one length.
    """

    inputs: Callable[[Mapping[str, str]], int]
    attributes: Mapping[str, Kind] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    auxiliary: int = 0
    parameters: int = 0
    alike: tuple[str, ...] = ()


def _fixed(count: int) -> Callable[[Mapping[str, str]], int]:
    return lambda attrs: count


def _biased(by_default: bool) -> Callable[[Mapping[str, str]], int]:
    return lambda attrs: 2 if attrs.get("no_bias", str(not by_default)) == "True" else 3


def _counted(attribute: str) -> Callable[[Mapping[str, str]], int]:
    return lambda attrs: int(attrs[attribute])


def _one_more_if(attribute: str, value: str) -> Callable[[Mapping[str, str]], int]:
    return lambda attrs: 2 if attrs.get(attribute) == value else 1


_AXIS = Int(-32, 31)
_AXES = Tuple((0, 32), -32, 31, optional=True)
_SIZE = 1 << 24  # of one dimension
# Layers that compute in whole numbers have no gradient.
_DTYPE = Choice(("float16", "float32", "float64", "bfloat16"))
_OUT_DTYPE = Choice(("None", "float16", "float32", "float64"))
_COUNT = Int(1, MOST_OUTPUTS)
_WORKSPACE = Int(0, 1 << 20)
_LAYOUT = Choice(("None", "NCW", "NCHW", "NCDHW", "NWC", "NHWC", "NDHWC"))
_TUNE = Choice(("None", "off", "fastest", "limited_workspace"))
_NORMALIZATION = Choice(("null", "batch", "valid"))
_MULTI_INPUT = Choice(("concat", "sum"))

_KERNEL = Tuple((1, 3), 1, 1024)
_POOLING_KERNEL = Tuple((0, 3), 1, 1024)
_STRIDE = Tuple((0, 3), 1, 1024)
_PAD = Tuple((0, 3), 0, 1024)
_WINDOW = ("kernel", "stride", "dilate", "pad", "adj", "target_shape")

_CONVOLUTION: dict[str, Kind] = {
    "kernel": _KERNEL,
    "stride": _STRIDE,
    "dilate": _STRIDE,
    "pad": _PAD,
    "num_filter": Int(1, _SIZE),
    "num_group": Int(1, 1 << 16),
    "no_bias": Bool(),
    "workspace": _WORKSPACE,
    "cudnn_tune": _TUNE,
    "cudnn_off": Bool(),
    "layout": _LAYOUT,
}
_POOLING: dict[str, Kind] = {
    "kernel": _POOLING_KERNEL,
    "stride": _STRIDE,
    "pad": _PAD,
    "pool_type": Choice(("max", "avg", "sum")),
    "global_pool": Bool(),
    "pooling_convention": Choice(("valid", "full")),
}
_BATCH_NORM: dict[str, Kind] = {
    "eps": Float(0, 1e6),
    "momentum": Float(0, 1),
    "fix_gamma": Bool(),
    "use_global_stats": Bool(),
    "output_mean_var": Bool(),
}
_SOFTMAX: dict[str, Kind] = {
    "axis": _AXIS,
    "temperature": Float(1e-6, 1e6, optional=True),
    "dtype": _OUT_DTYPE,
    "use_length": Choice(("False", "None")),
}
_SOFTMAX_OUTPUT: dict[str, Kind] = {
    "grad_scale": Float(),
    "ignore_label": Float(),
    "multi_output": Bool(),
    "use_ignore": Bool(),
    "preserve_shape": Bool(),
    "normalization": _NORMALIZATION,
    "out_grad": Bool(),
    "smooth_alpha": Float(0, 1),
}
_REDUCTION: dict[str, Kind] = {"axis": _AXES, "keepdims": Bool(), "exclude": Bool()}
_SCALAR: dict[str, Kind] = {"scalar": Float(), "is_int": Bool()}
_RESHAPE: dict[str, Kind] = {
    "shape": Tuple((0, 16), -4, 2**31 - 1),
    "reverse": Bool(),
    "target_shape": Tuple((0, 16), 0, 2**31 - 1),
    "keep_highest": Bool(),
}
_MATRICES: dict[str, Kind] = {
    "transpose_a": Bool(),
    "transpose_b": Bool(),
    "forward_stype": Choice(("None", "default")),
}
_UNARY = Operator(_fixed(1))
_BINARY = Operator(_fixed(2))
_REGRESSION = Operator(_fixed(2), {"grad_scale": Float()})

OPERATORS: Mapping[str, Operator] = {
    # Layers with parameters.
    "Convolution": Operator(_biased(True), _CONVOLUTION, ("kernel", "num_filter"), alike=_WINDOW),
    "Convolution_v1": Operator(_biased(True), _CONVOLUTION, ("kernel", "num_filter"), alike=_WINDOW),
    "Deconvolution": Operator(
        _biased(False),
        {**_CONVOLUTION, "adj": _PAD, "target_shape": Tuple((0, 3), 0, 1 << 16)},
        ("kernel", "num_filter"),
        alike=_WINDOW,
    ),
    "FullyConnected": Operator(
        _biased(True), {"num_hidden": Int(1, _SIZE), "no_bias": Bool(), "flatten": Bool()}, ("num_hidden",)
    ),
    "Embedding": Operator(
        _fixed(2),
        {
            "input_dim": Int(1, _SIZE),
            "output_dim": Int(1, _SIZE),
            "dtype": _OUT_DTYPE,
            "sparse_grad": Choice(("False", "false", "0")),
        },
        ("input_dim", "output_dim"),
    ),
    "BatchNorm": Operator(_fixed(5), {**_BATCH_NORM, "axis": _AXIS, "cudnn_off": Bool()}, auxiliary=2, parameters=4),
    "BatchNorm_v1": Operator(_fixed(5), _BATCH_NORM, auxiliary=2, parameters=4),
    "InstanceNorm": Operator(_fixed(3), {"eps": Float(0, 1e6)}, parameters=2),
    "LayerNorm": Operator(_fixed(3), {"axis": _AXIS, "eps": Float(0, 1e6), "output_mean_var": Bool()}, parameters=2),
    "GroupNorm": Operator(
        _fixed(3), {"num_groups": Int(1, 1 << 16), "eps": Float(0, 1e6), "output_mean_var": Bool()}, parameters=2
    ),
    "LeakyReLU": Operator(
        _one_more_if("act_type", "prelu"),
        {
            # With rrelu MXNet 1.9.1 ends the process at the first forward pass.
            "act_type": Choice(("leaky", "elu", "selu", "gelu", "prelu")),
            "slope": Float(),
            "lower_bound": Float(0, 1),
            "upper_bound": Float(0, 1),
        },
    ),
    # Layers without.
    "Activation": Operator(
        _fixed(1), {"act_type": Choice(("relu", "sigmoid", "softrelu", "softsign", "tanh"))}, ("act_type",)
    ),
    "Pooling": Operator(
        _fixed(1),
        {
            **_POOLING,
            "pool_type": Choice(("max", "avg", "sum", "lp")),
            "pooling_convention": Choice(("valid", "full", "same")),
            "p_value": Int(1, 3, optional=True),
            "count_include_pad": Bool(optional=True),
            "cudnn_off": Bool(),
            "layout": _LAYOUT,
        },
        alike=_WINDOW,
    ),
    "Pooling_v1": Operator(_fixed(1), _POOLING, alike=_WINDOW),
    "_contrib_AdaptiveAvgPooling2D": Operator(_fixed(1), {"output_size": Tuple((0, 2), 1, 4096)}),
    "_contrib_BilinearResize2D": Operator(
        _one_more_if("mode", "like"),
        {
            "height": Int(1, 1 << 14),
            "width": Int(1, 1 << 14),
            "scale_height": Float(0.01, 100, optional=True),
            "scale_width": Float(0.01, 100, optional=True),
            "mode": Choice(("size", "like", "odd_scale", "to_even_down", "to_even_up", "to_odd_down", "to_odd_up")),
            "align_corners": Bool(),
        },
    ),
    "UpSampling": Operator(
        _counted("num_args"),
        {
            "scale": Int(1, 1024),
            "num_filter": Int(0, _SIZE),
            # The bilinear one divides by num_filter, which is 0 unless it is said.
            "sample_type": Choice(("nearest",)),
            "multi_input_mode": _MULTI_INPUT,
            "num_args": _COUNT,
            "workspace": _WORKSPACE,
        },
        ("scale", "sample_type", "num_args"),
    ),
    "Crop": Operator(
        _counted("num_args"),
        {
            "num_args": Int(1, 2),
            "offset": Tuple((2, 2), 0, 1 << 16),
            "h_w": Tuple((2, 2), 0, 1 << 16),
            "center_crop": Bool(),
        },
        ("num_args",),
    ),
    "Pad": Operator(
        _fixed(1),
        {
            "mode": Choice(("constant", "edge", "reflect")),
            "pad_width": Tuple((2, 10), 0, 1 << 16),
            "constant_value": Float(),
        },
        ("mode", "pad_width"),
    ),
    "LRN": Operator(
        _fixed(1), {"alpha": Float(), "beta": Float(), "knorm": Float(), "nsize": Int(1, 4095)}, ("nsize",)
    ),
    "L2Normalization": Operator(_fixed(1), {"eps": Float(0, 1e6), "mode": Choice(("instance", "channel", "spatial"))}),
    "Dropout": Operator(
        _fixed(1),
        {
            "p": Float(0, 1),
            "mode": Choice(("training", "always")),
            "axes": Tuple((0, 32), 0, 31),
            "cudnn_off": Bool(optional=True),
        },
    ),
    "hard_sigmoid": Operator(_fixed(1), {"alpha": Float(), "beta": Float()}),
    "clip": Operator(_fixed(1), {"a_min": Float(infinite=True), "a_max": Float(infinite=True)}, ("a_min", "a_max")),
    "SoftmaxActivation": Operator(_fixed(1), {"mode": Choice(("instance", "channel"))}),
    **dict.fromkeys(["softmax", "log_softmax", "softmin"], Operator(_fixed(1), _SOFTMAX)),
    # Ends.
    **dict.fromkeys(["SoftmaxOutput", "Softmax"], Operator(_fixed(2), _SOFTMAX_OUTPUT)),
    **dict.fromkeys(["LogisticRegressionOutput", "LinearRegressionOutput", "MAERegressionOutput"], _REGRESSION),
    "SVMOutput": Operator(_fixed(2), {"margin": Float(), "regularization_coefficient": Float(), "use_linear": Bool()}),
    "MakeLoss": Operator(_fixed(1), {"grad_scale": Float(), "valid_thresh": Float(), "normalization": _NORMALIZATION}),
    "make_loss": _UNARY,
    # Shapes.
    **dict.fromkeys(["Flatten", "flatten"], _UNARY),
    **dict.fromkeys(["Reshape", "reshape"], Operator(_fixed(1), _RESHAPE)),
    # MXNet writes beyond the end of the output where an axis is named twice.
    "transpose": Operator(_fixed(1), {"axes": Permutation(6)}),
    "SwapAxis": Operator(_fixed(1), {"dim1": _AXIS, "dim2": _AXIS}),
    "expand_dims": Operator(_fixed(1), {"axis": _AXIS}, ("axis",)),
    "squeeze": Operator(_fixed(1), {"axis": _AXES}),
    **dict.fromkeys(
        ["Concat", "concat"], Operator(_counted("num_args"), {"num_args": _COUNT, "dim": _AXIS}, ("num_args",))
    ),
    "stack": Operator(_counted("num_args"), {"num_args": _COUNT, "axis": _AXIS}, ("num_args",)),
    **dict.fromkeys(
        ["SliceChannel", "split"],
        Operator(_fixed(1), {"num_outputs": _COUNT, "axis": _AXIS, "squeeze_axis": Bool()}, ("num_outputs",)),
    ),
    "slice": Operator(
        _fixed(1),
        {
            "begin": Tuple((1, 6), -_SIZE, _SIZE, gaps=True),
            "end": Tuple((1, 6), -_SIZE, 2**31 - 1, gaps=True),
            "step": Tuple((0, 6), -_SIZE, _SIZE, gaps=True),
        },
        ("begin", "end"),
    ),
    "slice_axis": Operator(
        _fixed(1),
        {"axis": _AXIS, "begin": Int(-_SIZE, _SIZE), "end": Int(-_SIZE, _SIZE, optional=True)},
        ("axis", "begin", "end"),
    ),
    "slice_like": Operator(_fixed(2), {"axes": Tuple((0, 6), -6, 5)}),
    "tile": Operator(_fixed(1), {"reps": Tuple((1, 6), 1, 1 << 16)}, ("reps",)),
    "repeat": Operator(_fixed(1), {"repeats": Int(1, 1 << 16), "axis": Int(-32, 31, optional=True)}, ("repeats",)),
    **dict.fromkeys(["reverse", "flip"], Operator(_fixed(1), {"axis": Tuple((1, 6), -6, 5)}, ("axis",))),
    "broadcast_to": Operator(_fixed(1), {"shape": Tuple((1, 6), 0, _SIZE)}, ("shape",)),
    **dict.fromkeys(
        ["broadcast_axis", "broadcast_axes"],
        Operator(
            _fixed(1),
            {"axis": Tuple((1, 6), 0, 5), "size": Tuple((1, 6), 1, _SIZE)},
            ("axis", "size"),
            alike=("axis", "size"),
        ),
    ),
    "broadcast_like": _BINARY,
    "reshape_like": _BINARY,
    **dict.fromkeys(
        ["depth_to_space", "space_to_depth"], Operator(_fixed(1), {"block_size": Int(1, 4096)}, ("block_size",))
    ),
    # Arithmetic.
    **dict.fromkeys(
        [
            *("sigmoid", "relu", "tanh", "softsign", "erf", "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt"),
            *("cbrt", "square", "abs", "sign", "negative", "reciprocal", "floor", "ceil", "round", "sin", "cos"),
            *("_copy", "identity", "BlockGrad", "zeros_like", "ones_like", "_contrib_div_sqrt_dim"),
        ],
        _UNARY,
    ),
    **dict.fromkeys(
        [
            *("elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_div", "_grad_add", "_maximum", "_minimum"),
            *("_add", "_plus", "_Plus", "_sub", "_minus", "_Minus", "_mul", "_Mul", "_div", "_Div"),
            *("broadcast_add", "broadcast_plus", "broadcast_sub", "broadcast_minus", "broadcast_mul", "broadcast_div"),
            *("broadcast_maximum", "broadcast_minimum", "broadcast_power", "broadcast_equal", "broadcast_greater"),
        ],
        _BINARY,
    ),
    **dict.fromkeys(
        [
            *("_plus_scalar", "_PlusScalar", "_minus_scalar", "_MinusScalar", "_rminus_scalar", "_RMinusScalar"),
            *("_mul_scalar", "_MulScalar", "_div_scalar", "_DivScalar", "_rdiv_scalar", "_RDivScalar"),
            *("_power_scalar", "_PowerScalar", "_rpower_scalar", "_RPowerScalar"),
            *("_maximum_scalar", "_MaximumScalar", "_minimum_scalar", "_MinimumScalar"),
            *("_equal_scalar", "_greater_scalar"),
        ],
        Operator(_fixed(1), _SCALAR),
    ),
    **dict.fromkeys(["add_n", "ElementWiseSum"], Operator(_counted("num_args"), {"num_args": _COUNT}, ("num_args",))),
    **dict.fromkeys(
        ["sum", "sum_axis", "mean", "max", "max_axis", "min", "min_axis", "prod"], Operator(_fixed(1), _REDUCTION)
    ),
    "norm": Operator(
        _fixed(1),
        {"ord": Int(1, 2), "axis": Tuple((1, 2), -32, 31, optional=True), "out_dtype": _OUT_DTYPE, "keepdims": Bool()},
    ),
    "argmax": Operator(_fixed(1), {"axis": Int(-32, 31, optional=True), "keepdims": Bool()}),
    **dict.fromkeys(["dot", "batch_dot"], Operator(_fixed(2), _MATRICES)),
    "_linalg_gemm2": Operator(
        _fixed(2), {"transpose_a": Bool(), "transpose_b": Bool(), "alpha": Float(), "axis": Int(-2, -2)}
    ),
    "take": Operator(_fixed(2), {"axis": _AXIS, "mode": Choice(("clip", "wrap"))}),
    # Types.
    **dict.fromkeys(["Cast", "cast"], Operator(_fixed(1), {"dtype": _DTYPE}, ("dtype",))),
    "amp_cast": Operator(_fixed(1), {"dtype": _DTYPE}, ("dtype",)),
    "amp_multicast": Operator(
        _counted("num_outputs"), {"num_outputs": _COUNT, "cast_narrow": Bool()}, ("num_outputs",)
    ),
}

# Attributes that steer a node and are not its operator's own. Since MXNet 1.0 they are written __so__; before, also as
# weight_lr_mult on the operator that owns the weight.
_NODE_STEERING: Mapping[str, Kind] = {
    "ctx_group": Label(),
    "lr_mult": Float(0, 1e6),
    "wd_mult": Float(0, 1e6),
    "force_mirroring": Bool(),
    "mirror_stage": Label(),
}
_VARIABLE_STEERING: Mapping[str, Kind] = {
    "__shape__": Tuple((0, 32), -1, 2**31 - 1),
    "__dtype__": Int(-1, 12),
    "__storage_type__": Int(-1, 0),
}


def steering(name: str) -> Kind | None:
    """Return the kind of an attribute that steers a node, as in ``lr_mult``, ``__lr_mult__`` and ``weight_lr_mult``."""
    plain = name[2:-2] if name[:2] == name[-2:] == "__" else name
    for word, kind in _NODE_STEERING.items():
        if plain == word or (plain is name and name.endswith(f"_{word}")):
            return kind
    return _VARIABLE_STEERING.get(name)
