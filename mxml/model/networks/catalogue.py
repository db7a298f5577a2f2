"""Which networks have a name, and what is known of them without building one. No MXNet here."""

from __future__ import annotations

from dataclasses import dataclass

from mxml.errors import MxmlError


@dataclass(frozen=True)
class NamedNetwork:
    """A network to train from scratch.

    ``side`` is the height and width of the images that it was designed for, and its default. ``gluon`` is its name in
    gluon's model zoo, which has its layers; None for one that mxml builds itself.
    """

    name: str
    side: int
    source: str
    gluon: str | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return the default shape of its input: channels, height and width."""
        return 3, self.side, self.side


_RESNET = "He et al. 2016, Deep Residual Learning"
_RESNET_V2 = "He et al. 2016, Identity Mappings"
_SQUEEZENET = "Iandola et al. 2016"
_VGG = "Simonyan & Zisserman 2015, with batch normalisation"

_NETWORKS = (
    NamedNetwork("smallervgg", 96, "SmallerVGGNet, PyImageSearch 2018"),
    NamedNetwork("squeezenet1.1", 224, _SQUEEZENET, "squeezenet1.1"),
    NamedNetwork("squeezenet1.0", 224, _SQUEEZENET, "squeezenet1.0"),
    NamedNetwork("mobilenetv2", 224, "Sandler et al. 2018", "mobilenetv2_1.0"),
    NamedNetwork("mobilenet", 224, "Howard et al. 2017", "mobilenet1.0"),
    NamedNetwork("resnet18", 224, _RESNET, "resnet18_v1"),
    NamedNetwork("resnet34", 224, _RESNET, "resnet34_v1"),
    NamedNetwork("resnet50", 224, _RESNET, "resnet50_v1"),
    NamedNetwork("resnet18_v2", 224, _RESNET_V2, "resnet18_v2"),
    NamedNetwork("resnet34_v2", 224, _RESNET_V2, "resnet34_v2"),
    NamedNetwork("resnet50_v2", 224, _RESNET_V2, "resnet50_v2"),
    NamedNetwork("densenet121", 224, "Huang et al. 2017", "densenet121"),
    NamedNetwork("inceptionv3", 299, "Szegedy et al. 2016", "inceptionv3"),
    NamedNetwork("alexnet", 224, "Krizhevsky et al. 2012", "alexnet"),
    NamedNetwork("vgg11_bn", 224, _VGG, "vgg11_bn"),
    NamedNetwork("vgg16_bn", 224, _VGG, "vgg16_bn"),
)

NETWORKS = {network.name: network for network in _NETWORKS}
"""The named networks, the smaller ones of a family first."""


def named_network(name: str) -> NamedNetwork:
    """Return the network of a name. Raises MxmlError for an unknown one."""
    if name not in NETWORKS:
        raise MxmlError(f"there is no network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]
