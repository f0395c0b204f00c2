"""One module for each group, with `cases(folder)`, which yields `Case`s; a new module is a new group."""
