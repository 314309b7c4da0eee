"""What is wrong with a pair set, before anything is trained on it or judged by it.

    side        a pair set as the checks see it: all pairs, and a sample read closely
    similarity  the un-tuned encoder's scores: is train easier than test, who made the labels and the phases
    shortcuts   rules that give the labels without understanding: category, TF-IDF, one text, its frequency
    splits      tickets on both sides, near duplicates across
    texts       leaks and people in texts
    shape       order, repetition, balance, cut texts
    examine     all of them
    finding, report, pictures, record     what was found: its type, how it is told, drawn and kept
    flow        `promax data audit`
    training    the audit that every training run makes

A check says error, warning, note, clean, or why it could not look. No ticket's text leaves this package.
"""
