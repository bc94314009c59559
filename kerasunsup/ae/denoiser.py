"""What of the autoencoder's results needs no code: those of the denoiser with skips."""

from __future__ import annotations

from kerasunsup.ae.trained import TrainedAutoencoder
from kerasunsup.evaluation import image_metrics
from kerasunsup.figures import curves
from kerasunsup.training import loop


def reconstruction(trained: TrainedAutoencoder, fitted: loop.Fitted) -> dict[str, float]:
    """What clean test images lose, and the learning curve, which is of corrupted ones.

    PCA is not beside them, as there is no code whose size it could have.
    """
    parts = []
    for pictures in trained.splits.test.blocks():
        outputs = trained.apply(pictures)
        errors = {
            "test/mse": image_metrics.mse(outputs, pictures),
            "test/psnr_db": image_metrics.psnr_db(outputs, pictures),
            "test/ssim": image_metrics.ssim(outputs, pictures),
        }
        parts.append((len(pictures), errors))
    history = fitted.history
    figure = curves.learning_curve(
        history["epoch"], history["loss"], history["val_loss"], best_epoch=fitted.best_epoch
    )
    trained.tensorboard.show(
        "learning_curve", figure, "Mean squared error of restored images an epoch."
    )
    return image_metrics.mean_of_blocks(parts)
