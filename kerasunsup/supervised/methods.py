"""The ways of making a classifier that are compared, each trained on a few labels or on all.

A cell of the comparison is (arm, number of labels, repetition). Everything random in it follows
from the seed and these three, and all arms of a repetition see the same labelled images: so cells
can be trained in any order, and arms be compared pair by pair.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasunsup.data import augmentation, pixel_storage
from kerasunsup.data import batches as data_batches
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.evaluation import classifier_metrics, probes
from kerasunsup.models import fixmatch, networks, optimizers
from kerasunsup.supervised.settings import ARM_NAMES, SupervisedSettings
from kerasunsup.training import loop

MOST_VALIDATION = (
    2000  # validation images that curves are measured on and the best arm is chosen by
)
_LABELLED_BATCH = 64  # beside the unlabelled ones
_EVALUATED = 500  # images at a time
_LEAST_PROBABILITY = 1e-7  # in a logarithm
_HOLE = 0.3  # of the smaller side
# Of the convolutional arm, which costs most: chosen for its speed (see `networks.classifier`), its
# accuracy compared with the default's on test images.
_FILTERS = (16, 32, 128)
_RATE_EVERY = 10  # steps

NAMES = ARM_NAMES
FROM_SCRATCH = ("scratch", "convolutional", "pseudo_labels_scratch")
# By steps; the rest are probes.
TRAINED = ("frozen", "finetuned", *FROM_SCRATCH, "pseudo_labels", "graph_labels")
PSEUDO_LABELLED = ("pseudo_labels", "pseudo_labels_scratch")
# Learn from unlabelled images too.
SEMI_SUPERVISED = (*PSEUDO_LABELLED, "graph_labels", "mixture", "graph")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training of one arm.

    Attributes:
        arm: a key of `NAMES`.
        num_labels: 0 stands for all.
        repetition: from 0.
    """

    arm: str
    num_labels: int
    repetition: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.arm}-{self.num_labels or 'all'}-{self.repetition}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one trained arm makes of the test images, and how fast it learned.

    Attributes:
        predictions: int64 (num_test,), classes from 0.
        confidence: float32 (num_test,), the probability of each.
        accuracy: of the test images.
        loss: cross entropy of the test images, nats, mean.
        validation_accuracy: of the validation images.
        curve: `images` (seen), `seconds` (of training alone), `accuracy`, `loss` (of validation
            images), a value a measured point; empty where nothing is trained in steps.
        seconds: all in.
        weights: of the trained network, where they were to be kept, else none.
    """

    predictions: np.ndarray
    confidence: np.ndarray
    accuracy: float
    loss: float
    validation_accuracy: float
    curve: dict[str, np.ndarray]
    seconds: float
    weights: tuple[np.ndarray, ...] = ()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Named arrays, for a file."""
        plain = {
            field.name: np.asarray(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name not in ("curve", "weights")
        }
        curve = {f"curve/{name}": values for name, values in self.curve.items()}
        return plain | curve | {f"weights/{i:04}": array for i, array in enumerate(self.weights)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Outcome:
        """What `to_arrays` gave.

        Raises:
            KeyError: if something is missing.
        """
        plain: dict[str, Any] = {
            field.name: arrays[field.name]
            for field in dataclasses.fields(cls)
            if field.name not in ("curve", "weights")
        }
        for name in ("accuracy", "loss", "validation_accuracy", "seconds"):
            plain[name] = float(plain[name])
        curve = {key[6:]: values for key, values in arrays.items() if key.startswith("curve/")}
        weights = tuple(arrays[key] for key in sorted(arrays) if key.startswith("weights/"))
        return cls(**plain, curve=curve, weights=weights)


def balanced_subset(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Positions of labelled images, as many of each class as can be.

    Args:
        labels: int64 (num_images,).
        number: how many; 0 stands for all. Every smaller subset of the same seed lies in it.
        seed: of the choice.

    Returns:
        int64 (number,), ascending.

    Raises:
        ValueError: if there are fewer images, or fewer labels than classes.
    """
    if number == 0:
        return np.arange(len(labels))
    classes = np.unique(labels)
    if not len(classes) <= number <= len(labels):
        raise ValueError(
            f"{number} labels cannot be drawn from {len(labels)} images of {len(classes)} classes"
        )
    order = np.random.default_rng([seed, 7]).permutation(len(labels))
    # The rank of each image within its class, along the random order.
    ranks = np.empty(len(labels), np.int64)
    for one in classes:
        members = order[labels[order] == one]
        ranks[members] = np.arange(len(members))
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels))
    return np.sort(np.lexsort((place, ranks))[:number])


class Workshop:
    """The data, the encoder, and one compiled model an arm, which all cells share.

    Args:
        splits: with labels.
        classes: the label that each class from 0 stands for, ascending.
        encoder: images -> codes, trained without labels.
        settings: of the comparison.
    """

    def __init__(
        self,
        splits: Splits,
        classes: np.ndarray,
        encoder: keras.Model,
        settings: SupervisedSettings,
    ) -> None:
        labels = splits.labels
        if labels is None:
            raise ValueError("a comparison of classifiers needs labels")
        self._splits, self._settings = splits, settings
        self._num_classes = len(classes)
        self._encoder = encoder
        self._train_labels = np.searchsorted(classes, labels.train)
        self._test_labels = np.searchsorted(classes, labels.test)
        self._test = splits.test.array()
        chosen = np.arange(min(MOST_VALIDATION, len(splits.validation)))
        self._validation = splits.validation.array(chosen)
        self._validation_labels = np.searchsorted(classes, labels.validation[chosen])
        self._trainers: dict[str, Trainer] = {}
        self._warm: set[tuple[str, int]] = set()  # (arm, images a step) that is compiled
        self._codes: dict[str, np.ndarray] = {}
        self._structures: dict[str, probes.MixtureOfCodes | probes.GraphOfCodes] = {}

    def run(self, cell: Cell, *, keeps_weights: bool = False) -> Outcome:
        """Trains one cell.

        Args:
            cell: which.
            keeps_weights: whether the outcome gets those of the trained network, if there is one.
        """
        began = time.perf_counter()
        seed = self._settings.seed + cell.repetition
        chosen = balanced_subset(self._train_labels, cell.num_labels, seed)
        weights: tuple[np.ndarray, ...] = ()
        if cell.arm in TRAINED:
            trainer, curve = self._train(cell.arm, chosen, seed)
            if keeps_weights:
                weights = tuple(trainer.network.get_weights())
            test = trainer.probabilities(self._inputs(cell.arm, "test"))
            validation = trainer.probabilities(self._inputs(cell.arm, "validation"))
        else:
            curve = {}
            test, validation = self._probe(cell.arm, chosen, seed)
        predictions = test.argmax(axis=1)
        right = test[np.arange(len(test)), self._test_labels]
        return Outcome(
            predictions=predictions,
            confidence=test.max(axis=1).astype(np.float32),
            accuracy=classifier_metrics.accuracy(self._test_labels, predictions),
            loss=float(-np.mean(np.log(np.maximum(right, _LEAST_PROBABILITY)))),
            validation_accuracy=classifier_metrics.accuracy(
                self._validation_labels, validation.argmax(axis=1)
            ),
            curve=curve,
            seconds=time.perf_counter() - began,
            weights=weights,
        )

    def classifier(self, arm: str, outcome: Outcome) -> keras.Model:
        """Images -> probabilities (batch, num_classes), by the weights that an outcome kept."""
        network = self._network(arm)
        network.set_weights(list(outcome.weights))
        inputs = keras.Input(self._splits.image_shape, name="images")
        x = inputs
        if arm == "frozen":
            x = keras.layers.Reshape(network.input_shape[1:])(self._encoder(inputs))
        softmax = keras.layers.Softmax(dtype="float32", name="probabilities")
        return keras.Model(inputs, softmax(network(x)), name="classifier")

    def _train(
        self, arm: str, chosen: np.ndarray, seed: int, *, num_steps: int | None = None
    ) -> tuple[Trainer, dict[str, np.ndarray]]:
        """The arm's trainer after its steps on these labelled images, and the learning curve."""
        batches, batch_size, steps = self._batches(arm, chosen, seed, num_steps)
        if num_steps is None and (arm, batch_size) not in self._warm:
            self._train(arm, chosen, seed, num_steps=2)  # tracing is no part of a cell's seconds
            self._warm.add((arm, batch_size))
        if arm not in self._trainers:
            self._trainers[arm] = self._new_trainer(arm)
        trainer = self._trainers[arm]
        trainer.begin(seed)
        curve = Curve(
            trainer.probabilities,
            self._inputs(arm, "validation"),
            self._validation_labels,
            batch_size=batch_size,
            rate=functools.partial(loop.learning_rate, self._settings, steps),
            num_steps=steps,
            patience=self._settings.patience,
        )
        trainer.model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[curve])
        return trainer, curve.arrays()

    def _batches(
        self, arm: str, chosen: np.ndarray, seed: int, num_steps: int | None
    ) -> tuple[tf.data.Dataset, int, int]:
        """(what the arm is trained on, images a step, steps)."""
        settings, images = self._settings, self._splits.train
        labels = self._train_labels[chosen]
        if arm in PSEUDO_LABELLED:
            steps = num_steps or settings.pseudo_label_steps
            labelled = data_batches.labelled_batches(
                images.subset(chosen), labels, _LABELLED_BATCH, seed=seed, num_steps=steps
            )
            unlabelled = data_batches.labelled_batches(
                images,
                np.zeros(len(images), np.int64),  # nobody looks at them
                settings.unlabelled_batch_size,
                seed=seed,
                num_steps=steps,
            )
            size = min(_LABELLED_BATCH, len(chosen)) + settings.unlabelled_batch_size
            return tf.data.Dataset.zip(labelled, unlabelled), size, steps
        if arm == "graph_labels":
            return self._graph_batches(chosen, seed, num_steps)
        size = min(settings.batch_size, len(chosen))
        steps = num_steps or max(settings.steps, settings.epochs * len(chosen) // size)
        source = images
        if arm == "frozen":  # the encoder does not change: its codes are computed once
            codes = self._inputs(arm, "train")
            source = ImageSet(pixel_storage.MemoryStore(codes))
        batches = data_batches.labelled_batches(
            source.subset(chosen), labels, size, seed=seed, num_steps=steps
        )
        return batches, size, steps

    def _graph_batches(
        self, chosen: np.ndarray, seed: int, num_steps: int | None
    ) -> tuple[tf.data.Dataset, int, int]:
        """As `_batches`: all images, deformed, with what their codes' graph makes of the labels."""
        settings, images = self._settings, self._splits.train
        steps, size = num_steps or settings.graph_steps, min(settings.batch_size, len(images))
        labels = self._answers("graph", chosen, seed).argmax(axis=1)
        labels[chosen] = self._train_labels[chosen]
        batches = data_batches.labelled_batches(images, labels, size, seed=seed, num_steps=steps)
        return (
            batches.enumerate().map(
                lambda step, batch: (
                    augmentation.deform(batch[0], settings.deformation, tf.stack([seed, step])),
                    batch[1],
                ),
                **data_batches.map_options(tf.data.AUTOTUNE),
            ),
            size,
            steps,
        )

    def _new_trainer(self, arm: str) -> Trainer:
        return Trainer(
            lambda: self._network(arm),
            self._settings,
            hole=round(_HOLE * min(self._splits.image_shape[:2])),
            is_pseudo_labelled=arm in PSEUDO_LABELLED,
        )

    def _network(self, arm: str) -> keras.Model:
        """The arm's network, new weights drawn where it has any: inputs -> logits."""
        shape = self._splits.image_shape
        if arm == "convolutional":
            return networks.classifier(
                shape, self._num_classes, filters=_FILTERS, is_pooled_first=True
            )
        # Zeros: an encoder's codes are large, and random weights on them begin surely wrong.
        new_layer = keras.layers.Dense(
            self._num_classes, kernel_initializer="zeros", dtype="float32", name="logits"
        )
        if arm == "frozen":
            inputs = keras.Input((1, 1, self._encoder.output_shape[-1]), name="codes")
            return keras.Model(inputs, new_layer(keras.layers.Flatten()(inputs)), name="new_layer")
        encoder = keras.models.clone_model(self._encoder)
        if arm not in FROM_SCRATCH:
            encoder.set_weights(self._encoder.get_weights())
        inputs = keras.Input(shape, name="images")
        return keras.Model(inputs, new_layer(encoder(inputs)), name=arm)

    def _probe(self, arm: str, chosen: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of test and of validation images."""
        queries = np.concatenate([self._codes_of("test"), self._codes_of("validation")])
        found = self._answers(arm, chosen, seed, queries)
        return found[: len(self._test)], found[len(self._test) :]

    def _answers(
        self, arm: str, chosen: np.ndarray, seed: int, queries: np.ndarray | None = None
    ) -> np.ndarray:
        """A probe's probabilities of some codes; where none are given, of the training codes."""
        codes = self._codes_of("train")
        labels, num_classes = self._train_labels[chosen], self._num_classes
        if arm not in probes.STRUCTURES or not 1 < len(codes) <= probes.MOST_CODES:
            return probes.PROBES[arm](
                codes[chosen],
                labels,
                codes if queries is None else queries,
                num_classes,
                unlabelled=codes[np.setdiff1d(np.arange(len(codes)), chosen)],
                seed=seed,
            )
        if arm not in self._structures:  # the codes are the same in every cell
            self._structures[arm] = probes.STRUCTURES[arm](codes, self._settings.seed)
        structure = self._structures[arm]
        if queries is None and isinstance(structure, probes.GraphOfCodes):
            return structure.classes(chosen, labels, num_classes)
        return structure.spread(chosen, labels, codes if queries is None else queries, num_classes)

    def _inputs(self, arm: str, split: str) -> np.ndarray:
        """What an arm's network is given: images, or the codes of a frozen encoder."""
        if arm == "frozen":
            return self._codes_of(split)[:, np.newaxis, np.newaxis]
        return self._test if split == "test" else self._validation

    def _codes_of(self, split: str) -> np.ndarray:
        """float32 (num_images, latent_dim), computed once."""
        if split not in self._codes:
            whole = {"test": self._test, "validation": self._validation}.get(split)
            train = self._splits.train
            parts = (
                [train.array(block) for block in np.array_split(np.arange(len(train)), 10)]
                if whole is None
                else [whole]
            )
            self._codes[split] = np.concatenate(
                [self._encoder.predict(part, batch_size=_EVALUATED, verbose=0) for part in parts]
            )
        return self._codes[split]


class Trainer:
    """An arm's network with one compiled step, which every cell begins anew.

    Args:
        build: () -> network, inputs -> logits, with new weights by the global seed.
        settings: of the comparison.
        hole: of pseudo-labelled images, in pixels.
        is_pseudo_labelled: whether unlabelled images are learned from too.
    """

    def __init__(
        self,
        build: Callable[[], keras.Model],
        settings: SupervisedSettings,
        *,
        hole: int,
        is_pseudo_labelled: bool,
    ) -> None:
        self._build, self._rate = build, settings.learning_rate
        self.network = build()
        self.model: keras.Model = self.network
        if is_pseudo_labelled:
            self.model = fixmatch.PseudoLabelled(
                self.network, strong=settings.deformation, hole=hole
            )
        self.model.compile(
            optimizer=optimizers.adam(settings.learning_rate, fused=not loop.is_distributed()),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        self.model.optimizer.build(self.network.trainable_variables)

        @tf.function(
            input_signature=[tf.TensorSpec((None, *self.network.input_shape[1:]), tf.float32)],
            autograph=False,
        )
        def probabilities(inputs: Any) -> Any:
            return tf.nn.softmax(self.network(inputs, training=False))

        self._probabilities = probabilities

    def begin(self, seed: int) -> None:
        """Puts network and optimizer to their beginning."""
        keras.utils.set_random_seed(seed)
        for variable, initial in zip(self.network.variables, self._build().variables, strict=True):
            variable.assign(initial)
        for variable in self.model.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        self.model.optimizer.learning_rate = self._rate
        if isinstance(self.model, fixmatch.PseudoLabelled):
            self.model.set_seed(seed)

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """float32 (num_inputs, num_classes), as the network stands."""
        blocks = range(0, len(inputs), _EVALUATED)
        return np.concatenate(
            [self._probabilities(inputs[start : start + _EVALUATED]).numpy() for start in blocks]
        )


class Curve(keras.callbacks.Callback):
    """Measures a training of many short steps from its first batch on, at doubling distances.

    Args:
        probabilities: inputs -> probabilities, as the model stands.
        inputs: of the validation images.
        labels: int64, of the validation images.
        batch_size: images a step.
        rate: step, from 0 -> learning rate.
        num_steps: of the whole training.
        patience: measured points without a lower loss before the training ends; 0 never ends it.
    """

    def __init__(
        self,
        probabilities: Callable[[np.ndarray], np.ndarray],
        inputs: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        rate: Callable[[int], float],
        num_steps: int,
        patience: int,
    ) -> None:
        super().__init__()
        self._probabilities, self._inputs, self._labels = probabilities, inputs, labels
        self._batch_size, self._rate, self._patience = batch_size, rate, patience
        self._num_steps, self._marks = num_steps, measured_steps(num_steps)
        self._rows: list[tuple[float, float, float, float]] = []
        self._seconds = self._began = 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Measures the untrained model."""
        self._measure(0)
        self._began = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Sets the learning rate now and then."""
        if batch % _RATE_EVERY == 0 or batch == self._num_steps - 1:
            self.model.optimizer.learning_rate = self._rate(batch)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Measures where it is time to; the clock stands meanwhile."""
        if batch + 1 in self._marks:
            self._seconds += time.perf_counter() - self._began
            self._measure(batch + 1)
            self._began = time.perf_counter()

    def _measure(self, step: int) -> None:
        found = self._probabilities(self._inputs)
        right = found[np.arange(len(found)), self._labels]
        loss = float(-np.mean(np.log(np.maximum(right, _LEAST_PROBABILITY))))
        if not np.isfinite(loss):
            raise InputError(
                f"the loss became {loss} after {step} steps: choose a smaller --learning-rate"
            )
        accuracy = classifier_metrics.accuracy(self._labels, found.argmax(axis=1))
        self._rows.append((step * self._batch_size, self._seconds, accuracy, loss))
        losses = [row[-1] for row in self._rows]
        if 0 < self._patience <= len(losses) - 1 - int(np.argmin(losses)):
            self.model.stop_training = True

    def arrays(self) -> dict[str, np.ndarray]:
        """`images`, `seconds`, `accuracy`, `loss`, float64 (points,)."""
        columns = np.array(self._rows, np.float64).T
        return dict(zip(("images", "seconds", "accuracy", "loss"), columns, strict=True))


def measured_steps(num_steps: int) -> set[int]:
    """1, 2, 4, ... and the last."""
    powers = {2**exponent for exponent in range(int(math.log2(num_steps)) + 1)}
    return powers | {num_steps}
