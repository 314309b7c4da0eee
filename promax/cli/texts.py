"""What the verbs say of themselves: what each does, in a few lines, and examples to copy."""

EXAMPLES = """\
examples:
  promax train experiment=demo                                      a baseline and a fine-tuned run
  promax compare --study demo                                       how much better, and how sure that is
  promax confirm my_fix                                             the verdict on a study, claim by claim
  promax reproduce 3f2a91bc                                         a logged run again, compared to the bit
  promax promote 3f2a91bc                                           its encoder to the registry, past the gate
  promax search "VPN drops" --run 3f2a91bc --tickets incident.csv   the difference on tickets of your own
  promax archive my_fix                                             a study as one file, to restore elsewhere
  promax restore my_fix.zip                                         ... and back into a record
  promax sync                                                       what runs could not tell a server that was away
  promax ui                                                         the record in the browser
  promax data build incident.csv --out pairs                        an export becomes pairs
  promax data audit pairs/train.parquet --test pairs/test.parquet   what is wrong with them
  promax data corpus --out incident.csv                             tickets, generated, where none are at hand
  promax doctor                                                     what is wrong with this installation

`promax VERB --help` says more of each. TAB completes verbs, options and overrides in the shell:
eval "$(register-python-argcomplete promax)" in bash and zsh, register-python-argcomplete --shell fish promax | source
"""

TRAIN_HELP = """\
Composes conf/ and the overrides into one run, trains it and records it beside its un-tuned
baseline, which is computed first where the study has none yet.

  promax train                                          the embedded corpus, LoRA, 5e-5 and 12 epochs
  promax train experiment=demo                          400 pairs, 3 epochs at 2e-4: minutes on two cores
  promax train data=pairs data.train=a.jsonl data.test=b.jsonl
  promax train data=pairs data.test=b.jsonl optim.epochs=0         the baseline alone
  promax train -m optim.lr=2e-5,5e-5 optim.epochs=6,12             a grid of runs
  promax train -m hydra/sweeper=promax_optuna 'optim.lr=tag(log,interval(1e-6,1e-3))' 'optim.epochs=range(2,17,2)'
                                                        a search: pruned, resumed by the same command
  promax train precision=portable                       slower; the same bits on other x86-64 processors
  promax train @mlruns/sweeps/.../best.yaml             the overrides in a file, as a search leaves them
  promax train --cfg job                                print the composed config, run nothing

Groups, from {folder}:
{groups}
Every key: promax/config/schema.py. Hydra's other options: promax train --hydra-help.
"""

REPRODUCE_HELP = """\
Runs a logged run again from its record: its commit with its uncommitted change in a worktree of its own, its
resolved config, its pairs and encoder files, checked by their hashes before anything is trained. Then compares
every metric at every step, every loss and every pair's score. The new run stands under the old one in the
MLflow UI and is no part of its study's tables. Exit code 1 if something drifted, 2 if it can't be rebuilt.
It runs the code that the record holds: reproduce runs of people you trust.

  promax reproduce 3f2a91bc --dry-run                      what would be done, and whether everything is there
  promax reproduce 3f2a91bc                                with the packages installed here
  promax reproduce 3f2a91bc --env                          with the run's own, in an environment of their own
  promax reproduce 3f2a91bc data.train=/data/train.jsonl   where a file lies elsewhere now
"""

ARCHIVE_HELP = """\
Writes all that the record holds of a study as one file: configs, parameters, metrics at every step, per-pair
scores, figures and saved adapters; no ticket text, unless tracking.log_text asked for that. Commit it beside a
report, or send it: `promax restore` takes it into another record, where its runs are compared, confirmed and
reproduced like any other. The same record gives the same bytes.

With --without-pairs the pairs stay at home: no ids, labels or texts, and not which pairs share a ticket; of each only
its score. Figures, hashes, saved adapters and the names of files and categories travel. Who has the same pairs
restores it, with promax as it is now: to the same bytes, but for texts that tracking.log_text asked for.

  promax archive my_fix
  promax archive my_fix --out experiments/my_fix/study.zip
  promax archive my_fix --without-pairs          the tickets are confidential, or not yours to give away
"""

RESTORE_HELP = """\
Takes a study that `promax archive` wrote into this record. Its runs get ids of this record's own and keep
their first ones: every verb finds them by either. Whole or not at all: the file is checked to the byte, and a
restoration that is stopped leaves no study behind. One that was archived without its pairs is restored with the same
ones: all files that its runs read are looked for by their names, and must have the bytes that they had.

  promax restore experiments/demo/study.zip
  promax restore my_fix.zip --study their_fix    under another name
  promax restore my_fix.zip data.test=/data/test.jsonl    archived without its pairs, of which a file lies elsewhere

Reproduce runs of people you trust: that runs the code which their record holds.
"""

PROMOTE_HELP = """\
Registers a run's encoder in the MLflow Model Registry of its store and moves the alias `champion` to it, only if it
- beats the champion, or its own un-tuned baseline where there is none yet: the interval of the paired difference
  in Spearman is above zero, on the same test pairs,
- reached a tier, and
- passed the adversarial diagnostic; one that was not run is not passed.
A run that is refused is not registered; the reason is printed and stands in its tag promax.promotion.
Exit code 1 if refused, 2 if it can't be promoted: not finished, no encoder saved.

  promax promote 3f2a91bc --dry-run          what the gate finds, line by line
  promax promote 3f2a91bc
  promax promote 3f2a91bc --name tickets     another registered model than the one of the run's study

Open it anywhere: mlflow.sentence_transformers.load_model("models:/NAME@champion")
"""

BUILD_HELP = """\
Reads a ServiceNow, Jira or Bugzilla export, takes positive pairs from problem records, parents and
duplicate links, mines negative ones, and writes train, dev, test and adversarial pairs with a manifest.
What was encoded is kept: a build that was stopped goes on where it was.

  promax data build incident.csv --out pairs
  promax data build incident.csv --out pairs phases.pairs=null        as many pairs as there are
  promax data build bugs.csv --links duplicates.csv --out pairs export.columns.short=Summary
  promax data build incident.csv --out pairs phases.definition=banded mining.pairs_per_ticket=4

Every key: promax/config/curriculum.py and promax/config/exports.py. The first example writes pairs/train.parquet,
pairs/train.json, and so on for dev, test and adversarial, and pairs/manifest.json.
"""

SEARCH_HELP = """\
Ranks the tickets of a file by their similarity to one of them, or to any text, by the encoder of a run and by its
baseline, side by side. Marked are the tickets that moved, and those that the file says are duplicates of the query:
by its links in an export, by label 1 in a pair file. Texts are shown here and written nowhere.

  promax search "VPN drops every few minutes" --run 3f2a91bc --tickets incident.csv
  promax search INC0010042 --run 3f2a91bc --tickets incident.xlsx --top 10
  promax search 4711 --run 3f2a91bc --tickets bugs.csv export.columns.short=Summary
  promax search "printer is blank" --run 3f2a91bc --tickets pairs/test.parquet
"""

SYNC_HELP = """\
A run whose MLflow server stops answering goes on: what it logs is kept under mlruns/pending/, in order, and sent when
the server is back. What was still there when the run ended is sent by this, once; Ctrl-C loses nothing of it.
Credentials are not kept: a server that wants them is told from others by its address, as given here. What a server
refuses, like writes of a run that was deleted there, stays and is named; delete its folder to give it up.

  promax sync
  promax sync --uri https://ann:secret@mlflow.example.com

Exit code 0 when nothing is left, else 1.
"""

AUDIT_HELP = """\
Looks for what would mislead whoever trains on these pairs or judges by them: train easier than test, inverted
phases, labels that a simple rule gives, tickets on both sides, leaks, people. Prints what was found, worst first,
with a figure and what to do, and records it in the study. Exit code 1 if anything found is an error.

  promax data audit train.jsonl --test test.jsonl
  promax data audit pairs.jsonl --out audit data.positive_from=0.5
  promax data audit tickets                                         the embedded corpus, as a run would divide it
  promax data audit train --test validation data=hub data.path=sentence-transformers/stsb

A pair set of its own counts as test. Texts are never shown. Example of a result: experiments/data_audit/.
"""

CONFIRM_HELP = """\
Judges the claims of the rule that a study's runs were logged with, from the scores in the record: no model is loaded.
Prints each claim as CONFIRMED, REFUTED or UNDECIDED, writes README.md, tables and figures, and records the same as one
HTML file under the study's own run. Text below the marker at the end of README.md is kept when it is written again.

  promax confirm my_fix                           after promax train experiment=confirm_fix study=my_fix ...
  promax confirm my_fix --out verdict
  promax confirm my_loss                          after promax train experiment=loss study=my_loss ...
  promax confirm mine --rule confirm_fix          by a rule chosen afterwards, and the report says so

A rule: conf/rule/confirm_fix.yaml, and where settings differ in more than learning rate and epochs,
conf/rule/loss.yaml. Exit code 0 whatever the verdict is.
"""
