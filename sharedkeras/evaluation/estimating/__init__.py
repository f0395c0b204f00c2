"""AutoAttack's verdict estimated: a screen, a census near the boundary, an audit of the rest."""
