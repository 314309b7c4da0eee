"""The embedded ticket corpus: ServiceNow-shaped incidents that the package writes itself.

    catalog   services, symptoms and problems, from the YAML files
    phrases   alternatives, slots, shorthand, typing errors
    writing   a problem in somebody's words
    ticket    an incident, the truth about it, its text, the CSV export
    generation `generate`: tickets, deterministic by seed
    draw      `draw_pairs`: labelled pairs for train, dev and test; `draw_adversarial`: those to mislead a model

Everything in it is invented. Labels come from the problem behind a ticket, never from its words.
"""

from promax.data.corpus.draw import draw_adversarial, draw_pairs, label
from promax.data.corpus.generation import generate
from promax.data.corpus.ticket import LEAK_COLUMNS, Incident, Ticket, Truth, incident_text, write_csv

__all__ = [
    "LEAK_COLUMNS",
    "Incident",
    "Ticket",
    "Truth",
    "draw_adversarial",
    "draw_pairs",
    "generate",
    "incident_text",
    "label",
    "write_csv",
]
