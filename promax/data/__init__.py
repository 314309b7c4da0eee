"""Labelled pairs of tickets: reading them, checking them, and dividing them into train, dev and test.

pairs     the `Pairs` type: what every other module works on
columns   a table of any origin -> `Pairs`, every row checked
readers   files and Hugging Face datasets -> tables
dealing   which pairs go to which side, so that no ticket is on two
splits    `load`: a data config -> train, dev and test
groups    connected components of tickets
corpus    the embedded incident corpus
"""
