"""The base of every configuration section."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

_NO_NUMBER = PydanticCustomError("truth_value", "Input should be a number, not true or false")


class Section(BaseModel):
    """A frozen group of settings; unknown keys, wrong types, truth values for numbers, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_value_is_a_number(cls, values: Any) -> Any:
        # Pydantic takes `true` for 1; a person who writes it means something else.
        wrong = [
            InitErrorDetails(type=_NO_NUMBER, loc=(name,), input=value)
            for name, value in (values.items() if isinstance(values, dict) else ())
            if _has_truth_value(value)
            and name in cls.model_fields
            and _wants_numbers(cls.model_fields[name].annotation)
        ]
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return values


def _has_truth_value(value: Any) -> bool:
    return any(isinstance(one, bool) for one in (value if isinstance(value, list | tuple) else [value]))


def _wants_numbers(annotation: Any) -> bool:
    kinds = _kinds(annotation)
    return bool not in kinds and bool(kinds & {int, float})


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation is made of."""
    inner = get_args(annotation)
    return {annotation}.union(*(_kinds(part) for part in inner)) if inner else {annotation}
