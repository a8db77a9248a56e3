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
        RecipeError: there is no such form, or it lacks a setting.
    """
    match settings.form:
        case "none":
            return Unconstrained()
        case "log_product":
            return LogProduct(settings.k1, settings.k2, settings.reference or math.e)
        case "additive":
            return Additive(settings.weight)
        case "relative":
            return Relative(settings.weight, _needed(settings, "reference"))
        case "absolute":
            return Absolute(settings.weight, _needed(settings, "target"))
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
