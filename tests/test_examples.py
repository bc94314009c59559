"""The examples in docstrings run, and print what stands below them."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from kerasunsup import evaluation, figures

MODULES = (
    *(f"kerasunsup.evaluation.{found.name}" for found in pkgutil.iter_modules(evaluation.__path__)),
    *(f"kerasunsup.figures.{found.name}" for found in pkgutil.iter_modules(figures.__path__)),
    *(f"kerasunsup.data.{name}" for name in ("images", "corruption", "augmentation")),
)


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_and_class_has_an_example_that_runs(name, capsys):
    module = importlib.import_module(name)
    runner, finder = doctest.DocTestRunner(verbose=False), doctest.DocTestFinder(recurse=False)
    without = []
    for public, value in vars(module).items():
        if public.startswith("_") or getattr(value, "__module__", "") != name:
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            # The finder knows decorated functions only by themselves.
            (example,) = finder.find(inspect.unwrap(value), public, globs=dict(vars(module)))
            without += [] if example.examples else [public]
            runner.run(example)
    assert without == []
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out
