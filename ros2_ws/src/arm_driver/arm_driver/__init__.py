"""What every arm driver has, for any number of joints; `realman_driver` is one back end of it."""
