"""The verdict on a study: what its claims came to, from the scores in the record alone."""
