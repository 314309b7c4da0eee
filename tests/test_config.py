"""The schema: what composes, what is refused, and in which words."""

from __future__ import annotations

from configparser import ConfigParser
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from promax.config import Config, ConfigError, as_text, build, flatten, from_yaml, is_known, to_yaml

CONF = Path(__file__).resolve().parent.parent / "conf"


def composed(*overrides: str) -> Config:
    ConfigStore.instance().store(name="schema", node=asdict(Config()))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build(compose("config", list(overrides)), Config)


# Each YAML of conf/, with what it needs beside itself to be a whole run. The count below is the test's own check.
YAMLS = {
    "data/tickets": [],
    "data/pairs": ["data.test=x.jsonl"],
    "data/columnar": ["data.test=x.json"],
    "data/hub": ["data.path=some/dataset"],
    "model/minilm": [],
    "model/minilm_lora": [],
    "model/mpnet": [],
    "model/mpnet_lora": [],
    "optim/before_fix": [],
    "optim/after_fix": [],
    "optim/recommended": [],
    "experiment/baseline": [],
    "experiment/before_fix": [],
    "experiment/after_fix": [],
    "experiment/demo": [],
    "experiment/lr_epochs": [],
    "experiment/confirm_fix": [],
    "experiment/loss": [],
    "experiment/recipe": [],
    "experiment/recommended": [],
    "rule/confirm_fix": [],
    "rule/loss": [],
    "rule/recommended": [],
}


def test_every_yaml_is_listed() -> None:
    found = {str(path.relative_to(CONF).with_suffix("")) for path in CONF.rglob("*.yaml")} - {"config", "build"}
    assert found == set(YAMLS)
    assert len(found) == 23


def test_every_folder_of_conf_is_installed_with_the_package() -> None:
    setup = ConfigParser()
    setup.read(CONF.parent / "setup.cfg")
    folders = {path.name for path in CONF.iterdir() if path.is_dir()}
    installed = setup["options.data_files"]
    assert {name for name in folders if installed.get(f"share/promax/conf/{name}", "").strip()} == folders
    assert len(folders) == 5


@pytest.mark.parametrize("name", YAMLS)
def test_every_yaml_composes_and_says_its_command(name: str) -> None:
    group, _, choice = name.partition("/")
    assert isinstance(composed(f"{group}={choice}", *YAMLS[name]), Config)
    assert "promax train" in (CONF / f"{name}.yaml").read_text(encoding="utf-8")


def test_the_fix_is_what_the_experiments_compare() -> None:
    before, after = composed("experiment=before_fix").optim, composed("experiment=after_fix").optim
    assert (before.lr, before.epochs, after.lr, after.epochs) == (2e-5, 6, 5e-5, 12)
    # Nothing else differs, or the comparison would not be one of the fix.
    same = {key: value for key, value in asdict(before).items() if key not in ("lr", "epochs")}
    assert same == {key: asdict(after)[key] for key in same}


def test_the_rule_of_the_fix_is_about_its_settings_and_published_claims() -> None:
    """The motivating project's figures: +2-3 %, +5-8 % and +7-11 %, tiers from 0.55, production from 0.80."""
    cfg = composed("experiment=confirm_fix")
    assert cfg.rule is not None and cfg.rule.before is not None
    before, after = composed("experiment=before_fix").optim, composed("experiment=after_fix").optim
    assert (cfg.rule.before.lr, cfg.rule.before.epochs) == (before.lr, before.epochs)
    assert (cfg.rule.after.lr, cfg.rule.after.epochs) == (after.lr, after.epochs)
    least = {claim.of: claim.at_least for claim in cfg.rule.claims if claim.published and claim.of != "level"}
    assert least == {"lr": 0.02, "epochs": 0.05, "fix": 0.07}
    tiers = [tier.spearman for tier in (cfg.tiers.minimum, cfg.tiers.good, cfg.tiers.excellent, cfg.tiers.production)]
    assert [claim.at_least for claim in cfg.rule.claims if claim.of == "level"] == tiers
    assert "baseline" in {claim.of for claim in cfg.rule.claims}


def test_the_recommended_recipe_is_the_one_that_its_rule_and_its_evidence_are_about() -> None:
    cfg = composed("experiment=recommended")
    assert cfg.rule is not None
    assert (cfg.optim.lr, cfg.optim.epochs, cfg.optim.loss) == (2e-4, 3, "cosent")
    assert (cfg.rule.after.lr, cfg.rule.after.epochs) == (cfg.optim.lr, cfg.optim.epochs)
    for page in (CONF.parent / "experiments" / "recommended").glob("*/README.md"):
        text = page.read_text(encoding="utf-8")
        assert "cosent loss" in text and "LoRA r 16, alpha 32, dropout 0.1 on all linear" in text
        assert "| settings | 0.0002, 3 epochs |" in text


def test_the_surface_begins_with_the_settings_before_and_after_the_fix() -> None:
    sweeper = yaml.safe_load((CONF / "experiment" / "lr_epochs.yaml").read_text(encoding="utf-8"))["hydra"]["sweeper"]
    fixes = [composed(f"experiment={name}").optim for name in ("before_fix", "after_fix")]
    # YAML 1.1 has 2e-5 for a text.
    found = [(float(each["optim.lr"]), each["optim.epochs"]) for each in sweeper["enqueue"]]
    assert found == [(each.lr, each.epochs) for each in fixes]


def test_lora_as_the_original_project_had_it() -> None:
    lora = composed("model=mpnet_lora").model.lora
    assert lora is not None
    assert (lora.r, lora.alpha, lora.dropout) == (16, 32, 0.1)


# What was written -> the text shown, to the letter.
REFUSED = {
    "seed: -1": "seed=-1: must be at least 0",
    "seed: 4294967296": "seed=4294967296: must be below 4294967296",
    "seed: null": "seed=null: must be a whole number",
    "study: ''": r"study='': must match \S",
    "device: gpu": r"device=gpu: must match ^(auto|cpu|mps|cuda(:\d+)?)$",
    "engine: fast": "engine=fast: must be 'packed' or 'reference'",
    "save: pickle": "save=pickle: must be 'auto', 'none', 'adapter' or 'merged'",
    "optim: {lr: abc}": "optim.lr=abc: must be a number",
    "optim: {lr: '5e-5'}": "optim.lr=5e-5: must be a number",
    "optim: {lr: 0}": "optim.lr=0: must be above 0.0",
    "optim: {lr: 2}": "optim.lr=2: must be at most 1.0",
    "optim: {lr: .nan}": "optim.lr=nan: must be a finite number",
    "optim: {epochs: 1.5}": "optim.epochs=1.5: must be a whole number",
    "optim: {epochs: true}": "optim.epochs=true: must be a whole number",
    "optim: {epochs: -1}": "optim.epochs=-1: must be at least 0",
    "optim: {batch_size: 0}": "optim.batch_size=0: must be at least 1",
    "optim: {patience: 0}": "optim.patience=0: must be at least 1, or null",
    "optim: {phase_split: []}": "optim.phase_split=[]: must hold at least 1 value(s), or null",
    "optim: {phase_split: [1, 0]}": "optim.phase_split.1=0: must be above 0.0",
    "optim: 3": "optim=3: must be a group of keys",
    "model: {sha256: abc}": "model.sha256=abc: must match ^[0-9a-f]{64}$, or null",
    "model: {lora: {r: 0}}": "model.lora.r=0: must be at least 1",
    "model: {lora: {dropout: 1}}": "model.lora.dropout=1: must be below 1.0",
    "data: {train_limit: 1}": "data.train_limit=1: must be at least 2, or null",
    "data: {positive_from: 0}": "data.positive_from=0: must be above 0.0, or null",
    "data: {on_leak: ignore}": "data.on_leak=ignore: must be 'refuse' or 'drop'",
    "data: {test: a.jsonl}": "data.test=a.jsonl: data=tickets makes its own pairs; for pair files use data=pairs",
    "data: {source: files}": "data.train=null, data.test=null: set at least one of them",
    "data: {source: hub}": "data.path=null: set it to a hub dataset id or a local dataset folder",
    "data: {binary: true}": "data.binary=true: needs data.positive_from, the label that makes a pair positive",
    "data: {test_share: 0.5}": "data.test_share=0.5: must be below 0.5",
    "eval: {recall_at: 5}": "eval.recall_at=5: must be a list, like [1,5,10]",
    "eval: {bootstrap: 10}": "eval.bootstrap=10: must be at least 100",
    "tiers: {good: {spearman: 55}}": "tiers.good.spearman=55: must be at most 1.0, or null",
    "tracking: {log_text: 1}": "tracking.log_text=1: must be true or false",
    "save: adapter": "save=adapter: model=minilm has no LoRA adapter; use save=merged",
    "optim: {lr: '${nowhere}'}": "optim.lr: Interpolation key 'nowhere' not found",
    "optim: {lr: '???'}": "optim.lr: Missing mandatory value: lr",
    "optim: {learning_rate: 1}": (
        "optim.learning_rate: unknown key. Allowed in optim: lr, epochs, batch_size, loss, schedule, warmup_ratio, "
        "weight_decay, max_grad_norm, curriculum, phase_split, select_by, keep, patience"
    ),
    "optimizer: {lr: 1}": (
        "optimizer: unknown key, did you mean optim? Allowed at the top: study, seed, device, engine, precision, "
        "save, data, model, optim, eval, tiers, tracking, rule"
    ),
    **{
        f"rule: {{question: q, after: {{lr: 1e-4, epochs: 3}}, {rest}}}": refusal
        for rest, refusal in {
            "claims: []": "rule.claims=[]: must hold at least 1 value(s)",
            "claims: [{name: a, of: rate}]": (
                "rule.claims.0.of=rate: must be 'lr', 'epochs', 'fix', 'baseline', 'level' or 'optimum'"
            ),
            "claims: [{name: a, of: fix}]": "rule.before=null: the claim 'a' is about fix and needs it",
            "claims: [{name: a, of: level}, {name: a, of: baseline}]": (
                "rule.claims: two claims are called 'a'; each needs a name, and a tag, of its own"
            ),
            "claims: [{name: gain 1 %, of: level}, {name: gain +1 %, of: baseline}]": (
                "rule.claims: two claims are called 'gain 1 %' and 'gain +1 %'; "
                "each needs a name, and a tag, of its own"
            ),
            "before: {lr: 1e-4, epochs: 2}, claims: [{name: a, of: lr}]": (
                "rule.after.lr=0.0001: the same as before; the claim 'a' needs two values"
            ),
            "before: {lr: 1e-4, epochs: 3}, claims: [{name: a, of: fix}]": (
                "rule.after: the same as before; the claim 'a' needs two settings"
            ),
            "before: {lr: 1e-4, epochs: 3, also: {optim.loss: mnrl}}, claims: [{name: a, of: fix}]": (
                "rule.after.also: must name optim.loss as the other setting does"
            ),
        }.items()
    },
    **{
        f"rule: {{question: q, after: {{lr: 1e-4, epochs: 3, also: {also}}}, {rest}}}": refusal
        for (also, rest), refusal in {
            ("{optim.loss: cosent}", "before: {lr: 1e-3, epochs: 3}, claims: [{name: a, of: lr}]"): (
                "rule.before.also: must name optim.loss as the other setting does"
            ),
            (
                "{optim.loss: cosent}",
                "before: {lr: 1e-3, epochs: 3, also: {optim.loss: mnrl}}, claims: [{name: a, of: lr}]",
            ): (
                "rule.after.also.optim.loss=cosent: must be as before, mnrl, for the claim 'a', which is about lr alone"
            ),
            **{
                (also, "claims: [{name: a, of: level}]"): refusal
                for also, refusal in {
                    "{optim.los: cosent}": (
                        "rule.after.also: optim.los: unknown key, did you mean optim.loss? Allowed in optim: lr, "
                        "epochs, batch_size, loss, schedule, warmup_ratio, weight_decay, max_grad_norm, curriculum, "
                        "phase_split, select_by, keep, patience"
                    ),
                    "{optim.loss: cosnet}": (
                        "rule: also: optim.loss=cosnet: must be 'cosine', 'cosent', 'angle', 'contrastive', "
                        "'online_contrastive' or 'mnrl'"
                    ),
                    "{model.lora.r: yes}": "rule: also: model.lora.r=true: must be a whole number",
                    "{model.lora.r: null}": "rule: also: model.lora.r=null: must be a whole number",
                    "{optim: {loss: cosent}}": (
                        "rule: also: {'loss': 'cosent'}: each key must be written whole, like {optim.loss: cosent}"
                    ),
                    "cosent": "rule.after.also=cosent: must be keys with their values, like {optim.loss: cosent}",
                    **{
                        f"{{{key}: x}}": (
                            f"rule.after.also: {key}: must be how a run trains or on what: engine, precision, "
                            "model.name, model.dropout, a key of model.lora,\n"
                            "of optim (but lr, epochs, select_by and keep), data.name, data.train_limit, data.phases "
                            "or data.seed"
                        )
                        for key in (
                            *("optim", "optim.lr", "optim.epochs", "optim.keep", "optim.select_by", "seed", "study"),
                            *("data.test", "data.dev", "data.train", "data.positive_from", "model.path", "model.lora"),
                        )
                    },
                }.items()
            },
        }.items()
    },
    "{seed: a, study: 1, device: 2, engine: 3}": (
        "study=1: must be a text\nseed=a: must be a whole number (and 2 more)"
    ),
}


@pytest.mark.parametrize("written", REFUSED)
def test_refused_in_these_words(written: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(OmegaConf.create(written), Config)
    assert str(refusal.value) == REFUSED[written]


def test_what_settings_differ_in_is_kept_as_the_record_has_it() -> None:
    """As texts, and as those that `flatten` and the record make of a run's own values."""
    written = {
        "optim.loss": "cosent",
        "model.lora.r": "8",
        "model.lora.target_modules": "[query, value]",
        "data.train_limit": "1000",
        "data.name": "'2024'",
        "optim.weight_decay": "0",
        "optim.warmup_ratio": "'1e-2'",
        "optim.phase_split": "[1, 2, 3]",
        "optim.patience": "null",
    }
    also = ", ".join(f"{key}: {value}" for key, value in written.items())
    rule = f"{{question: q, after: {{lr: 1e-4, epochs: 3, also: {{{also}}}}}, claims: [{{name: a, of: level}}]}}"
    made = build(OmegaConf.create(f"rule: {rule}"), Config).rule
    assert made is not None
    overrides = [f"{key}={value.strip(chr(39)) if key != 'data.name' else value}" for key, value in written.items()]
    run = flatten(composed("model=minilm_lora", *overrides))
    assert made.after.also == {key: as_text(run[key]) for key in written}
    assert made.after.also["optim.weight_decay"] == "0.0"
    assert made.after.also["model.lora.target_modules"] == "['query', 'value']"
    assert made.varied == tuple(sorted(written))


def test_the_two_losses_are_those_that_their_rule_is_about() -> None:
    cfg = composed("experiment=loss")
    written = yaml.safe_load((CONF / "experiment" / "loss.yaml").read_text(encoding="utf-8"))
    params = written["hydra"]["sweeper"]["params"]
    assert cfg.rule is not None and cfg.rule.before is not None
    for setting in (cfg.rule.before, cfg.rule.after):
        assert (setting.lr, setting.epochs) == (cfg.optim.lr, cfg.optim.epochs)
    losses = {setting.also["optim.loss"] for setting in (cfg.rule.before, cfg.rule.after)}
    assert params["optim.loss"] == "choice(cosine, cosent)" and losses == {"cosine", "cosent"}
    assert params["seed"] == f"range(0, {cfg.rule.seeds})"


def test_a_config_survives_its_yaml() -> None:
    assert from_yaml(to_yaml(composed("rule=loss"))) == composed("rule=loss")
    cfg = composed("model=mpnet_lora", "optim.phase_split=[1,2,3]", "optim.curriculum=phased", "seed=7")
    assert from_yaml(to_yaml(cfg)) == cfg


def test_flatten_holds_every_leaf_once() -> None:
    flat = flatten(composed("model=minilm_lora"))
    assert flat["model.lora.r"] == 16
    assert flat["eval.recall_at"] == "[1, 5, 10]"
    assert all(is_known(key, Config) for key in flat)
    # Counted by hand from the schema: 6 top keys, 19 + 8 + 5 of data, 6 + 5 of model, 13 of optim, 4 + 3 of eval, 16 of
    # tiers, 2 of tracking, and the rule, which is null here.
    assert len(flat) == 6 + 32 + 11 + 13 + 7 + 16 + 2 + 1


@pytest.mark.parametrize("word", ["${oc.env:PASSED}", "a-${oc.env:PASSED,x}", "${oc.${tracking.uri}:PASSED}"])
def test_a_config_takes_nothing_from_the_environment(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes would be logged; elsewhere, as in Hydra's own settings, the resolver works as ever."""
    monkeypatch.setenv("PASSED", "a-secret")
    with pytest.raises(ConfigError) as refused:
        build(OmegaConf.create({"study": word, "tracking": {"uri": "env"}}), Config)
    assert str(refused.value) == (
        "study: ${oc.env:PASSED}: environment variables stay out of the record; write the value itself"
    )
    assert OmegaConf.create({"mine": "${oc.env:PASSED}"}).mine == "a-secret"
