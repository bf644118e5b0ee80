"""The rendered toy kitchen: small, deterministic data in the layouts of EPIC-KITCHENS and LEMMA."""
