"""Which attacks: ensembles, names, the settings of the paper."""
