"""Every exception that flopscope raises on purpose.

::

    FlopscopeError
    ├── SpecError               a SPEC that names nothing that can be built
    │   └── MissingPackageError     ... because an optional package is not installed
    ├── InputError              inputs that cannot be read or do not fit the model
    ├── TraceError              the model raised while it was traced
    │   └── NeedsDataError          ... and cannot be run for real either
    ├── RuleError               a rule that cannot be registered, or that broke its own shape signature
    ├── GraphError              a graph that breaks one of its laws
    ├── SupernetError           a supernet whose choices cannot be relaxed as they are
    ├── ClosedFormError         a model whose cost is no formula in the symbols that were asked for
    ├── SavedError              a saved report that is damaged, or none
    ├── OptionError             an option or argument outside its allowed values
    └── UncountedError          strict mode met an op that no rule prices; carries the report

Each message says what was asked, what was found and what to do.
"""

from __future__ import annotations

from typing import Any


class FlopscopeError(Exception):
    """Base of all errors that flopscope raises on purpose.

    Examples:
        >>> import flopscope
        >>> try:
        ...     flopscope.load("torchvision:resnet5")
        ... except flopscope.FlopscopeError as error:
        ...     print(str(error).partition("?")[0])  # doctest: +ELLIPSIS
        torchvision has no model 'resnet5'. Did you mean resnet50...
    """


class SpecError(FlopscopeError):
    """A SPEC names nothing that can be built."""


class MissingPackageError(SpecError):
    """A SPEC needs an optional package that is not installed."""


class InputError(FlopscopeError):
    """Inputs cannot be read, or do not fit the model."""


class TraceError(FlopscopeError):
    """The model raised while it was traced; the cause is chained. ``last_op`` is the op that ran before."""

    def __init__(self, message: str, last_op: str | None = None) -> None:
        super().__init__(message)
        self.last_op = last_op


class NeedsDataError(TraceError):
    """The model reads the values of tensors, and running it for real is not possible or not allowed."""


class RuleError(FlopscopeError):
    """A rule cannot be registered, or an op breaks the shape signature that its rule states."""


class GraphError(FlopscopeError):
    """A graph breaks one of its laws."""


class SupernetError(FlopscopeError):
    """A supernet has no choices, or one whose candidates or probabilities cannot be used."""


class ClosedFormError(FlopscopeError):
    """No formula in the given symbols was found that holds for the cost of a model."""


class SavedError(FlopscopeError):
    """A saved report cannot be read, is damaged, or is no report of a known version."""


class OptionError(FlopscopeError):
    """An option or argument is outside its allowed values."""


class UncountedError(FlopscopeError):
    """Strict mode met at least one op that no rule prices; ``report`` is the `flopscope.Report` with the lower bound."""

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report
