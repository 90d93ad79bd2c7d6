"""What every other package must agree on: the contract of the cell, vectors, time and safety."""
