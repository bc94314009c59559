"""What the end of an autoencoder's run says, in a few lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# Times the training error that the validation error is, from which on images are known by heart.
# All digits in the study's network have 1.2.
_BY_HEART = 1.5


def summary(numbers: Mapping[str, Any], *, advice: bool = True) -> str:
    """The numbers that the end of a run prints, one a line.

    With `advice`, lines about what has gone wrong follow; what helps are flags of `kerasunsup ae`.
    """
    width = max(len(text) for text in _SUMMARY.values())
    lines = [
        f"  {text:<{width}}  {numbers[name]:>10.5g}"
        for name, text in _SUMMARY.items()
        if name in numbers
    ]
    if not advice:
        return "\n".join(["", *lines])
    if numbers.get("test/mse", 0.0) > 0.95 * numbers.get("mean_image/mse", math.inf):
        lines.append(
            "\nwhatever it is shown, the network answers with nearly the same picture: lower "
            "--learning-rate or --batch-size, or train for more --epochs"
        )
    training, validation = (numbers.get(f"{part}/mse", 0.0) for part in ("training", "validation"))
    if validation > _BY_HEART * training > 0.0:
        lines.append(
            f"\nthe network has learned training images by heart (error {training:.3g}, of images"
            f" held out {validation:.3g}): give it more images, or deform them (--deformation 0.5)"
        )
    return "\n".join(["", *lines])


_SUMMARY = {
    "epochs": "epochs trained",
    "best_epoch": "best epoch, by validation",
    "training_seconds": "training time, s",
    "test/mse": "test error (MSE)",
    "pca/mse": "the same, PCA of this size",
    "mean_image/mse": "the same, the mean image for all",
    "test/psnr_db": "test PSNR, dB",
    "test/ssim": "test SSIM",
    "variational/kl": "divergence from the normal, nats an image",
    "variational/active_units": "units that depend on the image",
    "noise_0.4/gain_db": "gain at noise of sigma 0.4, dB",
    "crop_8/gain_db": "gain at holes of 8 pixels, dB",
    "latent/kmeans_accuracy": "groups by k-means on codes, accuracy",
    "latent/graph_accuracy": "groups by the graph of codes, accuracy",
    "latent/student_accuracy": "groups by the student, accuracy",
    "real/fid": "distance to test images: validation images",
    "reconstructed/fid": "reconstructions",
    "normal/fid": "samples, standard normal codes",
    "integers/fid": "samples, random integers",
    "gaussian/fid": "samples, one Gaussian",
    "mixture_10/fid": "samples, mixture of 10",
    "mixture_100/fid": "samples, mixture of 100",
    "flow/fid": "samples, flow",
    "neighbors/fid": "samples around neighbors of codes",
}
