"""promax says, with evidence, whether a fine-tuning change made a ticket encoder better."""

__version__ = "0.1.0"
