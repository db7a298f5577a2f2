"""The plain form of a network: any program with MXNet loads it, and it trains again behind a loss."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mxml.model import params_file, symbols
from mxml.model.layers import Network
from mxml.runtime.imports import load_mxnet

mx = load_mxnet()


@pytest.mark.parametrize("prefix", ["legacy-multilabel", "squeezenet_v1.0"])
def test_a_program_without_mxml_loads_a_checkpoint_and_predicts_the_same(shared, tmp_path, prefix):
    epoch = 2 if prefix == "legacy-multilabel" else 0
    model = symbols.fine_tune_model(shared / "models" / prefix, epoch, 5, (3, 224, 224))
    head = model.arg_params[model.head_names[0]]
    head[:] = mx.nd.array(np.random.default_rng(0).normal(0, 0.05, head.shape))
    symbols.plain_symbol(model.symbol).save(str(tmp_path / "clothes-symbol.json"))
    joined = params_file.join_params(model.arg_params, model.aux_params)
    params_file.write_params(tmp_path / "clothes-0007.params", joined)
    image = np.random.default_rng(1).normal(0, 30, (1, 3, 224, 224)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    program = """
        import sys
        import numpy
        numpy.bool = numpy.bool_
        import mxnet as mx

        symbol, arg_params, aux_params = mx.model.load_checkpoint("clothes", 7)
        module = mx.mod.Module(symbol, label_names=None)
        module.bind([("data", (1, 3, 224, 224))], for_training=False)
        module.set_params(arg_params, aux_params)
        module.forward(mx.io.DataBatch([mx.nd.array(numpy.load("image.npy"))]), is_train=False)
        numpy.save("probabilities.npy", module.get_outputs()[0].asnumpy())
        assert not [name for name in sys.modules if name.split(".")[0] == "mxml"]
        try:
            import mxml
        except ImportError:
            pass
        else:
            raise AssertionError("mxml is within reach of this program")
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _hiding_mxml(textwrap.dedent(program))],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    arguments = dict(model.arg_params, data=mx.nd.array(image), softmax_label=mx.nd.zeros((1, 5)))
    expected = model.symbol.bind(mx.cpu(), arguments, aux_states=model.aux_params).forward()[0].asnumpy()
    assert expected.std() > 0
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=1e-6)


def _hiding_mxml(program: str) -> str:
    # An editable install would let it in by a finder of its own.
    return "import sys\nsys.modules['mxml'] = None\n" + program.replace(
        'if name.split(".")[0] == "mxml"]', 'if name.startswith("mxml.")]'
    )


def test_a_plain_network_behind_a_loss_is_the_network_that_it_came_from(checkout):
    model = symbols.fine_tune_model(checkout / "models" / "sample", 0, 8, (3, 96, 96))
    plain = symbols.plain_symbol(model.symbol)
    assert {"Custom"} & {node["op"] for node in json.loads(model.symbol.tojson())["nodes"]}
    assert not {"Custom"} & {node["op"] for node in json.loads(plain.tojson())["nodes"]}
    again = symbols.training_symbol(plain)
    assert json.loads(again.tojson()) == json.loads(model.symbol.tojson())
    assert symbols.training_symbol(again) is again
    symbols.check_params(Network(plain, (3, 96, 96)), model.arg_params, model.aux_params)
