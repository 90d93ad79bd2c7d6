"""Which processes run, for `ros2 launch` and for `ate launch` alike, and the `ate` command."""
