"""Unsupervised deep learning for images on Keras 3.

    import kerasunsup as ku

    splits = ku.load_images("mnist")
    autoencoder = ku.Autoencoder(epochs=20).fit(splits.train, validation=splits.validation)
    codes = autoencoder.transform(splits.test)

Names are loaded when they are used: `import kerasunsup` takes no time.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from kerasunsup.estimators.autoencoder import Autoencoder as Autoencoder
    from kerasunsup.estimators.classifier import Classifier as Classifier
    from kerasunsup.estimators.gan import GAN as GAN
    from kerasunsup.estimators.image_arrays import load_images as load_images
    from kerasunsup.estimators.plots import plot_codes as plot_codes
    from kerasunsup.estimators.plots import plot_history as plot_history
    from kerasunsup.estimators.plots import plot_reconstructions as plot_reconstructions
    from kerasunsup.estimators.plots import plot_samples as plot_samples
    from kerasunsup.estimators.saved import load as load

__version__ = "0.2.0"

_PLACES = {
    "Autoencoder": "autoencoder",
    "GAN": "gan",
    "Classifier": "classifier",
    "load": "saved",
    "load_images": "image_arrays",
    "plot_codes": "plots",
    "plot_history": "plots",
    "plot_reconstructions": "plots",
    "plot_samples": "plots",
}
__all__ = ["__version__", *_PLACES]


def __getattr__(name: str) -> typing.Any:
    """Loads a name of the Python interface, and TensorFlow with it."""
    if name not in _PLACES:
        raise AttributeError(f"module 'kerasunsup' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"kerasunsup.estimators.{_PLACES[name]}")
    globals()[name] = getattr(module, name)
    return globals()[name]


def __dir__() -> list[str]:
    """The names above, for completion."""
    return sorted(set(__all__) | set(globals()))
