"""A named network under a new head, ready to be trained from random parameters."""

from __future__ import annotations

from collections.abc import Sequence

from mxml.errors import ModelError
from mxml.model.layers import Network
from mxml.model.losses import BINARY_CROSS_ENTROPY, Loss, Settings
from mxml.model.networks.catalogue import NamedNetwork, named_network
from mxml.model.networks.first_parameters import first_parameters
from mxml.model.networks.layers import build
from mxml.model.pooled_layers import PooledLayers, find_layers
from mxml.model.symbols import FineTuneModel, attach_head, head_parameters, merge_params


def scratch_model(
    name: str,
    num_classes: int,
    data_shape: Sequence[int],
    seed: int,
    loss: Loss = BINARY_CROSS_ENTROPY,
    settings: Settings | None = None,
) -> FineTuneModel:
    """Return the network of a name for inputs of ``data_shape``, (3, H, W), with parameters drawn from ``seed``.

    It ends in ``loss`` with its ``settings``. Its head begins at zero, as every head does. Raises
    ModelError for images that are too small for it.
    """
    features, whole = with_head(named_network(name), num_classes, data_shape, loss, settings)
    arg_params, aux_params = merge_params(whole, *first_parameters(features, seed))
    return FineTuneModel(whole, arg_params, aux_params, head_parameters(whole.symbol), _last_layer(features))


def with_head(
    known: NamedNetwork,
    num_classes: int,
    data_shape: Sequence[int],
    loss: Loss = BINARY_CROSS_ENTROPY,
    settings: Settings | None = None,
) -> tuple[Network, Network]:
    """Return a named network as far as its features, and whole. Raises ModelError for images that are too small."""
    try:
        features = Network(build(known), data_shape)
        return features, Network(attach_head(features, num_classes, _last_layer(features), loss, settings), data_shape)
    except ModelError as error:
        raise ModelError(f"{known.name}: {error}; it was designed for {known.side} x {known.side} pixels") from error


def _last_layer(features: Network) -> PooledLayers:
    # By its name: the feature layer that is found by itself would leave out the dropout before the head.
    return find_layers(features, features.name(features.graph.heads[0]))
