"""`ate doctor`: what would keep a cell from working, found before it moves.

A check is a function that yields findings; each file of this package holds the checks of one
subject and `registry` lists them all. Checks are independent: each has a time limit, and one that
crashes or hangs becomes a failed finding of its own.
"""
