"""What a run may be: schema, checks, and the folders that configs come from.

Hydra composes `conf/` and the command line into a mapping; `build` turns that mapping into one
`Config`, or raises `ConfigError` with the key, the value seen and what is allowed. Nothing here
imports torch, so a wrong request is refused before anything slow happens.
"""

from __future__ import annotations

from promax.config.building import build, flatten, from_yaml, to_yaml
from promax.config.curriculum import BuildConfig, MiningConfig, PhasesConfig, SplitsConfig
from promax.config.exports import ExportColumnsConfig, ExportConfig
from promax.config.hydras import refuse_code, refuse_packages
from promax.config.keys import is_known, unknown_key
from promax.config.kinds import ConfigError, as_text
from promax.config.rule import ClaimConfig, RuleConfig, SettingConfig, claim_key
from promax.config.schema import (
    AdversarialConfig,
    ColumnsConfig,
    Config,
    DataConfig,
    EvalConfig,
    LoraConfig,
    ModelConfig,
    OptimConfig,
    TicketsConfig,
    TierConfig,
    TiersConfig,
    TrackingConfig,
)
from promax.paths import checkout, conf_dir, project_root

__all__ = [
    "AdversarialConfig",
    "BuildConfig",
    "ClaimConfig",
    "ColumnsConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "EvalConfig",
    "ExportColumnsConfig",
    "ExportConfig",
    "LoraConfig",
    "MiningConfig",
    "ModelConfig",
    "OptimConfig",
    "PhasesConfig",
    "RuleConfig",
    "SettingConfig",
    "SplitsConfig",
    "TicketsConfig",
    "TierConfig",
    "TiersConfig",
    "TrackingConfig",
    "as_text",
    "build",
    "checkout",
    "claim_key",
    "conf_dir",
    "flatten",
    "from_yaml",
    "is_known",
    "project_root",
    "refuse_code",
    "refuse_packages",
    "to_yaml",
    "unknown_key",
]
