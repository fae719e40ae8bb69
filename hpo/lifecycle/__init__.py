"""The verbs of a study, one transaction script each; the caller opens and commits the transaction."""
