"""Damaged and hostile inputs by group, and the judgement of what the library makes of each."""
