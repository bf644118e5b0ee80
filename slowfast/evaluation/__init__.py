"""What a set of scores is worth: metrics, the EPIC-KITCHENS protocols, files of the field."""
