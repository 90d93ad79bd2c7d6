"""Episodes in the formats of others: LeRobot data sets, and copies for published loaders."""
