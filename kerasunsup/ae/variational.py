"""What only a variational autoencoder has: what its units carry, and the parts of its loss."""

from __future__ import annotations

import numpy as np

from kerasunsup.ae.trained import TrainedAutoencoder
from kerasunsup.evaluation import variational_bound
from kerasunsup.figures import curves
from kerasunsup.training import loop


def measure(trained: TrainedAutoencoder, fitted: loop.Fitted) -> dict[str, float]:
    """The parts of the loss in the best epoch, and what the units carry of validation images.

    Losses and divergences are in nats, means over the images; `variational/kl` is summed over the
    units, `variational/kl_per_unit` the mean over them.
    """
    posterior = trained.model.posterior
    parts = [
        posterior.predict(block, batch_size=500, verbose=0)
        for block in trained.splits.validation.blocks()
    ]
    means, log_variances = map(np.concatenate, zip(*parts, strict=True))
    kl = variational_bound.kl_per_unit(means, log_variances)
    is_active = variational_bound.active_units(means)
    history, best = fitted.history, fitted.best_epoch
    is_corrupted = trained.settings.noise > 0 or trained.settings.crop > 0
    figure = curves.variational_parts(
        history["epoch"],
        {name: history[f"val_{name}"] for name in ("loss", "reconstruction", "kl")},
        kl,
        is_active,
        best_epoch=best,
    )
    trained.tensorboard.show(
        "variational",
        figure,
        "Parts of the validation loss an epoch, and the divergence of each unit from the standard"
        " normal distribution, of clean images.",
    )
    return {
        "variational/loss": history["val_loss"][best - 1],
        "variational/reconstruction": history["val_reconstruction"][best - 1],
        # All parts are of the images that the model is given; without noise these are the same.
        "variational/kl": history["val_kl"][best - 1] if is_corrupted else float(kl.sum()),
        "variational/kl_per_unit": float(kl.mean()),
        "variational/active_units": int(is_active.sum()),
    }
