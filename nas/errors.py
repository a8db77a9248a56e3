"""Everything that nas raises on purpose.

flopscope.FlopscopeError
└── NasError
    ├── DataError         a data set cannot be found, read or used
    ├── GenotypeError     a genotype, an operation or the shape of a network is not valid
    ├── RecipeError       a recipe, or a setting in it, is not valid
    ├── BudgetError       no architecture of a space meets a budget
    ├── RunError          a run folder cannot be made, read or resumed
    └── DivergedError     a loss, or what else an epoch adds up, is no number any more
"""

from __future__ import annotations

from flopscope.errors import FlopscopeError


class NasError(FlopscopeError):
    """Base class of all errors that nas raises on purpose."""


class DataError(NasError):
    """A data set cannot be found, read or used."""


class GenotypeError(NasError):
    """A genotype, an operation or the shape of a network is not valid."""


class RecipeError(NasError):
    """A recipe, or a setting in it, is not valid."""


class BudgetError(NasError):
    """No architecture of a space meets a budget."""


class RunError(NasError):
    """A run folder cannot be made, read or resumed."""


class DivergedError(NasError):
    """A loss, or what else an epoch adds up, is no number any more."""
