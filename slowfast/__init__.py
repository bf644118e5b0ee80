"""SUM-L: semantic alignment between unpaired views for egocentric action recognition."""
