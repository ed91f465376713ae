"""What is to be seen of a hive, as values: who runs, who should, what waits, and how well all of that is.

The page, the terminal and the machines' formats show this and nothing else, so they cannot disagree.
"""
