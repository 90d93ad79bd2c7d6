"""`ate replay`: the commands of a recorded episode played on a running cell."""
