"""The small network of Molnár & Poleczki, "State-of-the-art hyperparameter optimization methods" (experiment E4)."""

from torch import nn

from models.architectures.configs import TwoConvConfig
from models.architectures.parts import ACTIVATIONS, ChannelsLast, Classifier
from models.architectures.registry import register
from models.datasets import ImageSpec


@register("two_conv", TwoConvConfig)
def two_conv(config: TwoConvConfig, image: ImageSpec) -> nn.Module:
    """Conv 3x3, conv 3x3, max pool 2x2, dropout, dense, dropout, dense: [N, C, H, W] to logits [N, classes]."""
    activation = ACTIVATIONS[config.activation]
    pooled = (image.side - 4) // 2
    network = nn.Sequential(
        nn.Conv2d(image.channels, config.filters1, 3),
        activation(),
        nn.Conv2d(config.filters1, config.filters2, 3),
        activation(),
        nn.MaxPool2d(2),
        nn.Dropout(config.dropout),
        ChannelsLast(),
        nn.Flatten(),
        nn.Linear(config.filters2 * pooled**2, config.dense_units),
        activation(),
        nn.Dropout(config.dropout),
        Classifier(config.dense_units, image.classes),
    )
    # The paper used Keras and states neither padding nor initialisation, so both are Keras' defaults: none, and
    # Glorot-uniform weights with zero biases. Keras flattens with the channels last, too.
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
