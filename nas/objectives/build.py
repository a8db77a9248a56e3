"""The objective that settings name."""

from __future__ import annotations

import math

from nas.errors import RecipeError
from nas.objectives.additive import Absolute, Additive, Relative
from nas.objectives.budget import Budget
from nas.objectives.log_product import LogProduct
from nas.objectives.objective import Objective
from nas.objectives.power import Power
from nas.objectives.unconstrained import Unconstrained
from nas.recipe import ObjectiveSettings

FORMS = ("none", "log_product", "additive", "relative", "absolute", "power", "budget")


def build_objective(settings: ObjectiveSettings) -> Objective:
    """The objective.

    Raises:
        RecipeError: there is no such form, or a setting that it needs is missing or of no use to it.
    """
    match settings.form:
        case "none":
            return Unconstrained()
        case "log_product":
            return LogProduct(settings.k1, settings.k2, _base(settings))
        case "additive":
            return Additive(_needed(settings, "weight"))
        case "relative":
            return Relative(_needed(settings, "weight"), _needed(settings, "reference"))
        case "absolute":
            return Absolute(_needed(settings, "weight"), _needed(settings, "target"))
        case "power":
            return Power(_needed(settings, "target"), settings.exponent, settings.only_above)
        case "budget":
            return Budget(_needed(settings, "target"), settings.rate)
    raise RecipeError(f"objective.form is {settings.form!r}; there are {', '.join(FORMS)}")


def _needed(settings: ObjectiveSettings, name: str) -> float:
    value: float = getattr(settings, name)
    if not value > 0:
        raise RecipeError(f"an objective of the form {settings.form!r} needs objective.{name} above zero, but it is {value}")
    return value


def _base(settings: ObjectiveSettings) -> float:
    """The reference of a logarithm, e where none is given."""
    if not settings.reference:
        return math.e
    if settings.reference <= 1:
        raise RecipeError(
            "an objective of the form 'log_product' divides by the logarithm of objective.reference, which must be above 1, or 0 for e, "
            f"but it is {settings.reference}"
        )
    return settings.reference
