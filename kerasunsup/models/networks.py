"""Functional networks: plain values in, a named `keras.Model` out; no training code.

Images are float32 (batch, height, width, channels) in [0, 1] at every border.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

# As `_before_relu`, where a pixel gets a quarter of the window's weights. Keras counts the channels
# that come into a transposed convolution as those that go out.
_DOUBLED_RELU = {"class_name": "VarianceScaling", "config": {"scale": 8.0, "mode": "fan_out"}}

# Of a category beside the noise's own spread of 1: 3 was tried and no other.
_CATEGORY_SCALE = 3.0


def encoder(
    image_shape: Sequence[int],
    *,
    latent_dim: int,
    filters: Sequence[int] = (32,),
    hidden_units: int = 128,
    kernel_size: int = 5,
) -> keras.Model:
    """The study's encoder: strided convolution, dense layer, dense code.

    The code layer is linear. With ReLU on it most of its units die at the study's learning rate:
    MNIST's test error with a code of 32 is then 0.0121 after 20 epochs and not 0.0046 (kernel 3).

    Args:
        image_shape: (height, width, channels).
        latent_dim: size of the code.
        filters: of each convolution; every one halves height and width, rounding up.
        hidden_units: of the dense layer between the convolutions and the code.
        kernel_size: side of every convolution's window, in pixels. On MNIST 5 ends at a test
            error of 0.0042 after 20 epochs where 3 ends at 0.0046, for 5 % more arithmetic.

    Returns:
        images (batch, height, width, channels) -> codes (batch, latent_dim).

    Raises:
        ValueError: if there are more stages than the image can be halved.
    """
    stage_shapes(image_shape, filters)  # refuses too many stages
    inputs = keras.Input(tuple(image_shape), name="images")
    x = inputs
    for stage, num_filters in enumerate(filters, start=1):
        x = layers.Conv2D(
            num_filters,
            kernel_size,
            strides=2,
            padding="same",
            activation="relu",
            kernel_initializer=_before_relu(filters),
            name=f"convolution_{stage}",
        )(x)
    x = layers.Flatten(name="flatten")(x)
    x = _dense_relu(hidden_units, "hidden", filters)(x)
    # float32 in every precision: codes are measured, compared and stored.
    codes = layers.Dense(latent_dim, dtype="float32", name="codes")(x)
    return keras.Model(inputs, codes, name="encoder")


def decoder(
    image_shape: Sequence[int],
    *,
    latent_dim: int,
    filters: Sequence[int] = (32,),
    hidden_units: int = 128,
    kernel_size: int = 5,
    layer_types: Any = layers,
) -> keras.Model:
    """The study's decoder: two dense layers, transposed convolution, sigmoid.

    Args:
        image_shape: (height, width, channels) of the images that come out.
        latent_dim: size of the code.
        filters: as given to the encoder; used in reverse.
        hidden_units: of the first dense layer.
        kernel_size: side of every transposed convolution's window, in pixels.
        layer_types: `keras.layers`, or `faster_layers`, which has the same.

    Returns:
        codes (batch, latent_dim) -> images (batch, height, width, channels) in [0, 1].

    Raises:
        ValueError: if there are more stages than the image can be halved.
    """
    shapes = stage_shapes(image_shape, filters)
    inputs = keras.Input((latent_dim,), name="codes")
    x = _dense_relu(hidden_units, "hidden", filters)(inputs)
    x = _dense_relu(math.prod(shapes[-1]), "to_feature_maps", filters)(x)
    x = layers.Reshape(shapes[-1], name="feature_maps")(x)
    for stage in reversed(range(len(filters))):
        options = {"activation": "relu", "kernel_initializer": _DOUBLED_RELU}
        x = doubled(x, shapes, stage, layer_types, kernel_size, **(options if stage else {}))
    images = layers.Activation("sigmoid", dtype="float32", name="images")(x)
    return keras.Model(inputs, images, name="decoder")


def _before_relu(filters: Sequence[int]) -> str:
    """First weights of layers behind which a ReLU is.

    In several stages their spread must keep that of what goes through each layer (He et al. 2015,
    arXiv:1502.01852); a single one ends lower with Keras's own (see docs/autoencoder.md).
    """
    return "he_normal" if len(filters) > 1 else "glorot_uniform"


def _dense_relu(units: int, name: str, filters: Sequence[int]) -> layers.Dense:
    initializer = _before_relu(filters)
    return layers.Dense(units, activation="relu", kernel_initializer=initializer, name=name)


def doubled(
    x: Any,
    shapes: Sequence[tuple[int, int, int]],
    stage: int,
    layer_types: Any,
    kernel_size: int,
    **options: Any,
) -> Any:
    """Feature maps of `shapes[stage + 1]` turned into those of `shapes[stage]`."""
    height, width, channels = shapes[stage]
    if not stage:  # makes the image: float32 in every precision
        options["dtype"] = "float32"
    x = layer_types.Conv2DTranspose(
        channels,
        kernel_size,
        strides=2,
        padding="same",
        name=f"transposed_convolution_{stage + 1}",
        **options,
    )(x)
    # Halving rounds odd sides up, so doubling overshoots.
    cut = ((0, x.shape[1] - height), (0, x.shape[2] - width))
    return x if cut == ((0, 0), (0, 0)) else layers.Cropping2D(cut, name=f"crop_{stage + 1}")(x)


def stage_shapes(image_shape: Sequence[int], filters: Sequence[int]) -> list[tuple[int, int, int]]:
    """The feature maps' (height, width, channels), from the image to the last convolution.

    Raises:
        ValueError: if there are more stages than the image can be halved.
    """
    height, width, channels = image_shape
    shapes = [(height, width, channels)]
    for num_filters in filters:
        if min(height, width) < 2:
            raise ValueError(
                f"{len(filters)} convolution stages halve a {image_shape[0]} x {image_shape[1]} "
                f"image below one pixel: use at most {len(shapes) - 1} values for filters"
            )
        height, width = -(-height // 2), -(-width // 2)
        shapes.append((height, width, num_filters))
    return shapes


def num_weights(
    image_shape: Sequence[int], filters: Sequence[int], hidden_units: int, kernel_size: int
) -> int:
    """Weights of an encoder and its decoder, or of a generator and its discriminator, about.

    Counted from plain values, so that a network that no machine can hold is known before it is
    built; biases, normalization, and the layers to code, noise and logit are left out.

    Args:
        image_shape: (height, width, channels).
        filters: of each convolution.
        hidden_units: of the dense layer behind them; 0 where there is none.
        kernel_size: side of every convolution's window, in pixels.

    Raises:
        ValueError: if there are more stages than the image can be halved.
    """
    shapes = stage_shapes(image_shape, filters)
    pairs = sum(before[-1] * after[-1] for before, after in itertools.pairwise(shapes))
    return 2 * (kernel_size**2 * pairs + math.prod(shapes[-1]) * max(1, hidden_units))


def generator(
    image_shape: Sequence[int],
    *,
    noise_dim: int,
    base_filters: int = 32,
    hidden_units: int = 256,
    categories: int = 0,
    synchronized: bool = False,
    layer_types: Any = layers,
) -> keras.Model:
    """Noise to images: dense layers, then transposed convolutions, each doubling the side.

    Batch normalization and ReLU behind every layer but the last, as in DCGAN (Radford et al.
    2016, arXiv:1511.06434). The last layer's range is [-1, 1], scaled to [0, 1] at the border.
    Unlike DCGAN's, the noise passes a hidden layer first: distant parts can depend on each other.

    Images of several kinds lie apart, and a continuous function of the noise must put something
    between them. So which of the noise's first values is the largest is given to the first layer
    as a category: see docs/gan.md (after DeLiGAN, Gurumurthy et al. 2017, arXiv:1706.02071;
    Khayatkhoei et al. 2018, arXiv:1806.00880).

    Args:
        image_shape: (height, width, channels) of the images that come out, sides 16 to 64.
        noise_dim: values of the noise, independent standard normals.
        base_filters: of the feature maps at half the image's side; twice as many at a quarter.
        hidden_units: of the dense layer between noise and feature maps; 0 leaves it out.
        categories: how many the noise chooses from; below 2 it does not choose.
        synchronized: take batch statistics over all replicas of a `tf.distribute` strategy.
        layer_types: `keras.layers`, or `faster_layers`, which has the same.

    Returns:
        noise (batch, noise_dim) -> images (batch, height, width, channels) in [0, 1].

    Raises:
        ValueError: if a side is not 16 to 64, or there are more categories than noise values.
    """
    if categories > noise_dim:
        raise ValueError(f"{categories} categories need as many noise values, received {noise_dim}")
    shapes = stage_shapes(image_shape, adversarial_filters(image_shape, base_filters))
    normalized = functools.partial(
        _normalized_relu, synchronized=synchronized, layer_types=layer_types
    )
    inputs = keras.Input((noise_dim,), name="noise")
    x = inputs
    if categories > 1:
        category = keras.ops.one_hot(keras.ops.argmax(inputs[:, :categories], axis=-1), categories)
        x = layers.Concatenate(name="category_and_noise")([_CATEGORY_SCALE * category, inputs])
    # No biases before a batch normalization: it subtracts them.
    if hidden_units:
        x = normalized(layers.Dense(hidden_units, use_bias=False, name="hidden")(x), "hidden")
    x = layers.Dense(math.prod(shapes[-1]), use_bias=False, name="to_feature_maps")(x)
    x = normalized(layers.Reshape(shapes[-1], name="feature_maps")(x), "0")
    for stage in reversed(range(len(shapes) - 1)):
        # Kernel 4 at stride 2: no checkerboard (Odena et al. 2016, doi:10.23915/distill.00003).
        x = doubled(x, shapes, stage, layer_types, 4, use_bias=not stage)
        x = normalized(x, str(stage + 1)) if stage else x
    # float32 in every precision: bfloat16 has 128 levels between 0.5 and 1.
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    images = layers.Rescaling(0.5, offset=0.5, dtype="float32", name="images")(x)
    return keras.Model(inputs, images, name="generator")


def _normalized_relu(x: Any, name: str, **options: Any) -> Any:
    return layers.Activation("relu", name=f"relu_{name}")(_normalized(x, name, **options))


def _normalized(x: Any, name: str, *, synchronized: bool, layer_types: Any) -> Any:
    return layer_types.BatchNormalization(
        momentum=0.9, synchronized=synchronized, name=f"normalization_{name}"
    )(x)


def discriminator(
    image_shape: Sequence[int],
    *,
    base_filters: int = 32,
    hidden_units: int = 256,
    noise: float = 0.0,
    dropout: float = 0.0,
    synchronized: bool = False,
    layer_types: Any = layers,
) -> keras.Model:
    """Images to one logit, above 0 for real: strided convolutions, each halving the side.

    Batch normalization in every stage but the first, leaky ReLU of 0.2, as in DCGAN. DCGAN's logit
    is linear in the last feature maps: it adds up what the parts of an image look like, and knows
    nothing of how they go together. The hidden layer does.

    Args:
        image_shape: (height, width, channels), sides 16 to 64.
        base_filters: of the first convolution; each further stage has twice as many.
        hidden_units: of the dense layer between feature maps and logit; 0 leaves it out.
        noise: standard deviation of Gaussian noise on every image while training, real or
            generated, on the scale [-1, 1] (Sonderby et al. 2017, arXiv:1610.04490, section 3.2).
        dropout: share of each stage's outputs that is dropped while training.
        synchronized: take batch statistics over all replicas of a `tf.distribute` strategy.
        layer_types: `keras.layers`, or `faster_layers`, which has the same.

    Returns:
        images (batch, height, width, channels) in [0, 1] -> logits (batch, 1).

    Raises:
        ValueError: if a side is not 16 to 64.
    """

    def activated(x: Any, name: str, *, is_normalized: bool = True) -> Any:
        if is_normalized:
            x = _normalized(x, name, synchronized=synchronized, layer_types=layer_types)
        x = layers.LeakyReLU(negative_slope=0.2, name=f"leaky_relu_{name}")(x)
        return layers.Dropout(dropout, name=f"dropout_{name}")(x) if dropout else x

    inputs = keras.Input(tuple(image_shape), name="images")
    x = layers.Rescaling(2.0, offset=-1.0, name="scaled")(inputs)
    if noise:
        x = layers.GaussianNoise(noise, name="noise")(x)
    for stage, num_filters in enumerate(adversarial_filters(image_shape, base_filters), start=1):
        convolution = layer_types.Conv2D(
            num_filters, 4, strides=2, padding="same", use_bias=stage == 1, name=f"conv_{stage}"
        )
        x = activated(convolution(x), str(stage), is_normalized=stage > 1)
    x = layers.Flatten(name="flatten")(x)
    if hidden_units:
        hidden = layers.Dense(hidden_units, use_bias=False, name="hidden")
        x = activated(hidden(x), "hidden")
    logits = layers.Dense(1, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="discriminator")


def adversarial_filters(image_shape: Sequence[int], base_filters: int) -> tuple[int, ...]:
    """Filters of each stage of the GAN's networks: the side is halved until it is below 8.

    28 and 16 pixels take two stages, 32 takes three, 64 four.

    Raises:
        ValueError: if a side is not 16 to 64.
    """
    height, width = image_shape[:2]
    if not 16 <= min(height, width) <= max(height, width) <= 64:
        raise ValueError(f"sides must be 16 to 64 pixels, received {height} x {width}")
    filters: list[int] = []
    while min(height, width) >= 8:
        filters.append(base_filters * 2 ** len(filters))
        height, width = -(-height // 2), -(-width // 2)
    return tuple(filters)


def autoencoder(encoder: keras.Model, decoder: keras.Model) -> keras.Model:
    """The encoder followed by the decoder: images -> images of the same shape and range."""
    inputs = keras.Input(encoder.input_shape[1:], name="images")
    return keras.Model(inputs, decoder(encoder(inputs)), name="autoencoder")


def posterior(encoder: keras.Model) -> keras.Model:
    """Where the code of an image may lie: a Gaussian with independent units; layers are shared.

    Args:
        encoder: as `encoder` makes it; its codes are the means.

    Returns:
        images (batch, height, width, channels) -> [means, logarithms of the variances], both
        (batch, latent_dim).
    """
    head = layers.Dense(encoder.output_shape[-1], dtype="float32", name="log_variances")
    log_variances = head(encoder.get_layer("hidden").output)
    return keras.Model(encoder.input, [encoder.output, log_variances], name="posterior")


def classifier(
    image_shape: Sequence[int],
    num_classes: int,
    *,
    filters: Sequence[int] = (32, 64, 128),
    feature_dim: int = 128,
    is_pooled_first: bool = False,
    layer_types: Any = layers,
) -> keras.Model:
    """A small convolutional classifier with a named feature layer.

    On MNIST with all labels about 99.3 %. Its `features` layer is the space in which sets of
    images are compared.

    Args:
        image_shape: (height, width, channels).
        num_classes: number of classes.
        filters: of each convolution; the side is halved behind each.
        feature_dim: units of the layer before the last.
        is_pooled_first: halve the side before the normalization and not behind the activation,
            which leaves a quarter of the numbers to normalize. With filters of 16, 32 and 128 a
            step of 128 MNIST images takes 24 ms where the default takes 59; both reach 99.2 %.
        layer_types: `keras.layers`, or `faster_layers`, which has the same.

    Returns:
        images (batch, height, width, channels) -> logits (batch, num_classes).
    """
    inputs = keras.Input(tuple(image_shape), name="images")
    x = inputs
    for stage, num_filters in enumerate(filters, start=1):
        x = layers.Conv2D(num_filters, 3, padding="same", use_bias=False, name=f"conv_{stage}")(x)
        pooling = layers.MaxPooling2D(2, padding="same", name=f"pool_{stage}")
        if is_pooled_first:
            x = pooling(x)
        # 0.99, Keras's default, remembers the first weights: too long for a hundred steps.
        x = layer_types.BatchNormalization(momentum=0.9, name=f"norm_{stage}")(x)
        x = layers.Activation("relu", name=f"relu_{stage}")(x)
        if not is_pooled_first:
            x = pooling(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(feature_dim, activation="relu", dtype="float32", name="features")(x)
    x = layers.Dropout(0.3, seed=0, name="dropout")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="classifier")
