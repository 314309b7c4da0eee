"""From a composed mapping to a `Config`, and back; what is refused on the way, in the user's words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, NoReturn, TypeVar, get_args

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc
from pydantic import TypeAdapter, ValidationError
from yaml import YAMLError

from promax.config.keys import hint_at, unknown_key
from promax.config.kinds import ConfigError, as_text
from promax.config.rule import RuleConfig, SettingConfig
from promax.config.schema import Config

T = TypeVar("T")


def build(composed: DictConfig, schema: type[T]) -> T:
    """Turn what Hydra composed into an object of `schema`, with every type and value checked.

    Raises:
        ConfigError: unknown keys, values of the wrong type or out of range; one line a finding, two at most.

    >>> build(OmegaConf.create({"optim": {"lr": 1e-3}}), Config).optim.lr
    0.001
    >>> build(OmegaConf.create({"optim": {"epochs": 1.5}}), Config)
    Traceback (most recent call last):
    promax.config.kinds.ConfigError: optim.epochs=1.5: must be a whole number
    """
    try:
        with _without_environment():
            plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        reason = str(error.msg).splitlines()[0].removeprefix("ConfigError raised while resolving interpolation: ")
        raise ConfigError(f"{error.full_key}: {reason}") from None
    try:
        # Through JSON, since only there does strict mode take a mapping for a dataclass.
        built = TypeAdapter(schema).validate_json(json.dumps(plain))
    except ValidationError as error:
        findings = [_describe(dict(each), schema) for each in error.errors(include_url=False)]
        more = f" (and {len(findings) - 2} more)" if len(findings) > 2 else ""
        raise ConfigError("\n".join(findings[:2]) + more) from None
    if isinstance(built, Config) and built.rule is not None and built.rule.varied:
        return replace(built, rule=_as_logged(built.rule))
    return built


def _as_logged(rule: RuleConfig) -> RuleConfig:
    """The rule with each value of `also` written as a run with it has it in the record: 0 as 0.0 where that is a float.

    Raises:
        ConfigError: a value that no run can have.
    """

    def logged(setting: SettingConfig) -> SettingConfig:
        return replace(setting, also={key: _logged(key, text) for key, text in setting.also.items()})

    return replace(rule, after=logged(rule.after), before=logged(rule.before) if rule.before is not None else None)


def _logged(key: str, text: str) -> str:
    refusal = None
    # A text that reads as a number may still be meant as one, or as a name.
    for value in (_read(text), text):
        probe: Any = value
        for part in reversed(key.split(".")):
            probe = {part: probe}
        try:
            return as_text(flatten(build(OmegaConf.create(probe), Config))[key])
        except ConfigError as error:
            refusal = refusal or error
    raise ConfigError(f"rule: also: {refusal}")


def _read(text: str) -> Any:
    """The value that a text stands for in a config file."""
    try:
        return OmegaConf.to_container(OmegaConf.create(f"value: {text}"))["value"]  # type: ignore[index,call-overload]
    except (YAMLError, OmegaConfBaseException):
        return text


@contextmanager
def _without_environment() -> Iterator[None]:
    """No value comes from an environment variable: each goes into the record, and variables hold secrets."""
    OmegaConf.register_new_resolver("oc.env", _refuse_variable, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def _refuse_variable(name: str, *_default: str) -> NoReturn:
    raise ConfigError(f"${{oc.env:{name}}}: environment variables stay out of the record; write the value itself")


def flatten(config: Config) -> dict[str, str | int | float | bool | None]:
    """The config as one level of dotted keys, in schema order: what is logged as parameters."""
    flat: dict[str, str | int | float | bool | None] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else name, inner)
        else:
            flat[prefix] = str(value) if isinstance(value, list) else value

    walk("", asdict(config))
    return flat


def to_yaml(config: Config) -> str:
    """The resolved config as YAML, from which the same `Config` is built again."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def from_yaml(text: str) -> Config:
    """The `Config` that `to_yaml` wrote.

    >>> from_yaml(to_yaml(Config())) == Config()
    True
    """
    composed = OmegaConf.create(text)
    assert isinstance(composed, DictConfig)
    return build(composed, Config)


# What pydantic calls a finding -> our words; {…} are the fields of the finding's context.
_RULES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "list_type": "must be a list, like [1,5,10]",
    "dataclass_type": "must be a group of keys",
    "dict_type": "must be keys with their values, like {{optim.loss: cosent}}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must hold at least {min_length} value(s)",
}


def _describe(finding: dict[str, Any], schema: type[Any]) -> str:
    context = finding.get("ctx", {})
    if isinstance(context.get("error"), ConfigError):
        return str(context["error"])
    place = [str(part) for part in finding["loc"] if not str(part).endswith(("Config", "]"))]
    key = ".".join(place)
    if finding["type"] == "unexpected_keyword_argument":
        return unknown_key(key, schema)
    rule = _RULES.get(finding["type"], finding["msg"]).format(**context)
    if type(None) in get_args(hint_at(key, schema)):
        rule += ", or null"
    return f"{key}={_as_written(finding['input'])}: {rule}"


def _as_written(value: Any) -> str:
    return repr(value) if isinstance(value, str) and not value.strip() else as_text(value)
