"""The networks that see earlier pixels only, as one field of a configuration: `kind` says which."""

from typing import Annotated

from pydantic import Field

from inkwash.nn.causal_transformer import TransformerConfig
from inkwash.nn.pixelcnn import GatedConfig, PixelCNNConfig
from inkwash.nn.pixelrnn import DiagonalConfig, RowLSTMConfig

CausalNet = Annotated[PixelCNNConfig | GatedConfig | RowLSTMConfig | DiagonalConfig | TransformerConfig, Field(discriminator="kind")]
