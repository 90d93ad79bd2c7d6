"""One colour camera of the cell: back ends, supervision, emulated pictures and ROS node."""
