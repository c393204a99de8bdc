"""A year of real flights through a supervised tree of actors."""
