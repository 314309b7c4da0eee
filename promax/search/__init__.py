"""`promax search`: the nearest tickets of a trained encoder beside its baseline's, on the terminal only.

tickets   a ticket export or a pair file -> the tickets to search, and which are one problem
model     a run of the record -> its trained encoder
ranking   vectors -> who is nearest by either encoder, and who moved
view      the two rankings side by side
flow      `search`: all of it, top to bottom
"""
