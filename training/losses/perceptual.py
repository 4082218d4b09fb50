"""Losses on features of networks trained for other tasks. Their weights are downloaded when a run starts.

Nothing here is part of the models that are trained. Every class takes ``(N, 3, H, W)`` RGB in 0..1 and is built
before the first step, so a missing library or a failed download ends the run before it has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.error import URLError

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paragon_arch.errors import ParagonError

from .pixel import charbonnier

T = TypeVar("T")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG_LAYERS = {2: 0.1, 7: 0.1, 16: 1.0, 25: 1.0, 34: 1.0}
"""Index in torchvision's VGG19 and weight of conv1_2, conv2_2, conv3_4, conv4_4 and conv5_4, before their ReLUs."""
CONVNEXT_STAGES = {1: 1.0, 3: 0.5}
"""Index in torchvision's ConvNeXt tiny and weight of the first two stages."""
TEMPERATURE = 0.1
"""Of the contrastive loss."""


def obtained(loss: str, build: Callable[[], T]) -> T:
    """What ``build`` returns; a missing library or download becomes one message.

    Raises:
        ParagonError: names the loss, the cause and the cure.
    """
    try:
        return build()
    except ImportError as error:
        extra = "clip" if loss == "clip" else "train"
        raise ParagonError(f'the loss {loss} needs a library: pip install -e ".[{extra}]" ({error})') from error
    except (URLError, OSError, RuntimeError) as error:
        folder = torch.hub.get_dir()
        raise ParagonError(
            f"the loss {loss} needs pretrained weights that could not be downloaded ({error}); get online once, put "
            f"the file into {folder}/checkpoints yourself, or take [losses] {loss} out of the recipe"
        ) from error


def normalised(image: Tensor) -> Tensor:
    """With ImageNet's mean and deviation."""
    mean, std = (torch.tensor(v, device=image.device).reshape(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (image - mean) / std


class FeatureLoss(nn.Module):
    """Weighted mean of a criterion over chosen layers of a chain of layers.

    Args:
        layers: run one after the other; frozen.
        weights: index of a layer to its weight.
        criterion: of two feature maps.
        clamp: clamp images to 0..1 first.
    """

    def __init__(
        self,
        layers: nn.Sequential,
        weights: Mapping[int, float],
        criterion: Callable[[Tensor, Tensor], Tensor],
        *,
        clamp: bool = False,
    ) -> None:
        super().__init__()
        self.layers = layers[: max(weights) + 1].eval().requires_grad_(False)
        self.weights, self.criterion, self.clamp = dict(weights), criterion, clamp

    def features(self, image: Tensor) -> dict[int, Tensor]:
        """The chosen layers' outputs."""
        x = normalised(image.clamp(0, 1) if self.clamp else image)
        found: dict[int, Tensor] = {}
        for index, layer in enumerate(self.layers):
            # torchvision's ReLUs work in place, which would spoil what was kept
            x = F.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
            if index in self.weights:
                found[index] = x
        return found

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(target)
        found = self.features(output)
        terms = [weight * self.criterion(found[i], wanted[i]) for i, weight in self.weights.items()]
        return torch.stack(terms).sum()


def vgg_loss(*, pretrained: bool = True) -> FeatureLoss:
    """Charbonnier distance of VGG19 features (Johnson et al. 2016), the first convolution padded by repetition."""
    from torchvision.models import VGG19_Weights, vgg19

    layers = vgg19(weights=VGG19_Weights.DEFAULT if pretrained else None, init_weights=False).features
    assert isinstance(layers, nn.Sequential)
    first = layers[0]
    assert isinstance(first, nn.Conv2d)
    first.padding_mode = "replicate"
    first._reversed_padding_repeated_twice = [1, 1, 1, 1]  # pyright: ignore[reportPrivateUsage]
    return FeatureLoss(layers, VGG_LAYERS, charbonnier)


def convnext_loss(*, pretrained: bool = True) -> FeatureLoss:
    """L1 distance of the first two stages of ConvNeXt tiny (Liu et al. 2022).

    Gradients reach the output; in the originals they did not.
    """
    from torchvision.models import ConvNeXt_Tiny_Weights, convnext_tiny

    layers = convnext_tiny(weights=ConvNeXt_Tiny_Weights.DEFAULT if pretrained else None).features
    assert isinstance(layers, nn.Sequential)
    total = sum(CONVNEXT_STAGES.values())
    weights = {index: weight / total for index, weight in CONVNEXT_STAGES.items()}
    return FeatureLoss(layers, weights, F.l1_loss, clamp=True)


class Dists(nn.Module):
    """Deep image structure and texture similarity (Ding et al. 2020), by torchmetrics."""

    def __init__(self) -> None:
        super().__init__()
        from torchmetrics.functional.image.dists import DISTSNetwork

        self.network = DISTSNetwork().eval().requires_grad_(False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        score = self.network(output.clamp(0, 1), target, require_grad=True)
        return score.mean().clamp_min(0)


class Lpips(nn.Module):
    """Learned perceptual image patch similarity (Zhang et al. 2018) with VGG16, by torchmetrics."""

    def __init__(self) -> None:
        super().__init__()
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        self.network = LearnedPerceptualImagePatchSimilarity(net_type="vgg").net.eval().requires_grad_(False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return self.network(output.clamp(0, 1), target, normalize=True).mean()


def contrast(output: Tensor, target: Tensor, low: Tensor) -> Tensor:
    """InfoNCE of embeddings ``(N, d)``: the output should be like the target, not like the enlarged low resolution."""
    positive = F.cosine_similarity(output, target) / TEMPERATURE
    negative = F.cosine_similarity(output, low) / TEMPERATURE
    return F.softplus(negative - positive).mean()


class ContrastiveClip(nn.Module):
    """`contrast` of embeddings by CLIP ViT-B/32 (Radford et al. 2021); needs the library transformers.

    Gradients reach the output; in the originals they did not.

    Args:
        encoder: ``(N, 3, 224, 224)`` normalised images to ``(N, d)``; CLIP unless given.
    """

    def __init__(self, encoder: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.encoder = _clip_encoder() if encoder is None else encoder

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings of images of any size."""
        mean = torch.tensor((0.48145466, 0.4578275, 0.40821073), device=image.device).reshape(1, 3, 1, 1)
        std = torch.tensor((0.26862954, 0.26130258, 0.27577711), device=image.device).reshape(1, 3, 1, 1)
        resized = F.interpolate(image, size=(224, 224), mode="bicubic", antialias=True).clamp(0, 1)
        return self.encoder((resized - mean) / std)

    def forward(self, output: Tensor, target: Tensor, low: Tensor) -> Tensor:
        with torch.no_grad():
            enlarged = F.interpolate(low, size=target.shape[-2:], mode="bicubic", antialias=True)
            wanted, unwanted = self.embed(target), self.embed(enlarged)
        return contrast(self.embed(output), wanted, unwanted)


def _clip_encoder() -> Callable[[Tensor], Tensor]:
    from importlib import import_module

    library: Any = import_module("transformers")
    model: Any = library.CLIPVisionModelWithProjection.from_pretrained("openai/clip-vit-base-patch32")
    model.eval().requires_grad_(False)
    return lambda pixels: model(pixel_values=pixels).image_embeds
