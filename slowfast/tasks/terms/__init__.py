"""Terms of SUM-L's objective, one file each. The registry imports every module of this folder."""
