"""`ate validate`: bags, HDF5 episodes and LeRobot sets against their specification."""
