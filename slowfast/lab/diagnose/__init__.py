"""Measurement of where the information of the exo view stops in finished SUM-L runs."""
