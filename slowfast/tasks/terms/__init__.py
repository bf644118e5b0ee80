"""The terms of SUM-L's objective."""
