"""What of the autoencoder's results needs no code: those of the denoiser with skips."""

from __future__ import annotations

from kerasunsup.ae.trained import TrainedAutoencoder, errors_on_tests
from kerasunsup.evaluation import image_metrics
from kerasunsup.figures import curves
from kerasunsup.training import loop


def reconstruction(trained: TrainedAutoencoder, fitted: loop.Fitted) -> dict[str, float]:
    """What clean test images lose, and the learning curve, which is of corrupted ones.

    PCA is not beside them, as there is no code whose size it could have.
    """
    parts = []
    for pictures in trained.splits.test.blocks():
        parts.append((len(pictures), errors_on_tests(trained.apply(pictures), pictures)))
    history = fitted.history
    figure = curves.learning_curve(
        history["epoch"], history["loss"], history["val_loss"], best_epoch=fitted.best_epoch
    )
    trained.tensorboard.show(
        "learning_curve", figure, "Mean squared error of restored images an epoch."
    )
    return image_metrics.mean_of_blocks(parts)
