"""One file per metric of a classification head; every file here is imported.

The order of the files is the order of the values in results.json.
"""
